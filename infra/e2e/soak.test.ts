/**
 * A real `beacon ca serve` under much more load than people make: seconds in the tests, as long as BEACON_SOAK_SECONDS says
 * for an operator. Nothing may fail, and what is open and in memory must not grow from round to round.
 */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { PATH, type PreparedRequest, prepareRequests } from '../bench/issue/prepared-request.ts';
import { people, ServedCa } from '../bench/issue/served-ca.ts';

const SECONDS = Number(process.env['BEACON_SOAK_SECONDS'] ?? 1);
const ROUND = 400;
const CONNECTIONS = 16;
const MOST_MIB = 256;
let ca: ServedCa;
beforeAll(async () => {
  ca = await ServedCa.start();
}, 120_000);
afterAll(() => ca.remove());

function send(agent: Agent, { accessToken, proof, body }: PreparedRequest): Promise<number> {
  const headers = {
    authorization: `DPoP ${accessToken}`,
    dpop: proof,
    'content-type': 'application/json',
    'content-length': body.length,
  };
  return new Promise((resolve, reject) => {
    const asked = request(`${ca.url}${PATH}`, { method: 'POST', agent, headers }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode ?? 0));
    });
    asked.on('error', reject);
    asked.end(body);
  });
}

/** One round by new logins; answers how many of the requests were answered with a certificate. */
async function round(): Promise<number> {
  const requests = await prepareRequests(ca.url, await ca.logins(people.slice(0, 3)), ROUND);
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const statuses = await Promise.all(requests.map((one) => send(agent, one)));
  agent.destroy();
  return statuses.filter((status) => status === 201).length;
}

/** Open files, once the connections of a round are gone. */
async function filesAfter(most: number): Promise<number> {
  let open = ca.openFiles();
  for (let tries = 0; open > most && tries < 100; tries += 1) {
    await sleep(100);
    open = ca.openFiles();
  }
  return open;
}

test(
  'Q1: goes on without an error, with as many open files as before and no more memory than it was given',
  async () => {
    const until = performance.now() + SECONDS * 1000;
    expect(await round()).toBe(ROUND);
    await sleep(1_000);
    const before = ca.openFiles();
    do {
      expect(await round()).toBe(ROUND);
      expect(await filesAfter(before)).toBeLessThanOrEqual(before);
      expect(ca.memory().highest).toBeLessThan(MOST_MIB);
    } while (performance.now() < until);
  },
  120_000 + SECONDS * 2_000,
);
