import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createId } from '@beacon/protocol/id';
import { FIRST_PREVIOUS, formatRecord, hashRecord, type RecordFields } from '@beacon/protocol/record';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type SmallBroker, startSmallBroker } from '../../client/test/small-broker.ts';
import { type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { createHome, type Home } from './command.ts';

const NOW = Date.now();
const GRANT = createId(NOW);
const DIGEST = 'A'.repeat(43);

let ca: SmallCa;
let broker: SmallBroker;
let home: Home;

function chain(name: string, ...records: readonly [kind: string, facts: RecordFields['facts']][]): string[] {
  const lines: string[] = [];
  for (const [kind, facts = {}] of records) {
    const before = lines.at(-1);
    const about = { person: 'github:583231', service: 'portal', host: 'build-01', grant: GRANT };
    const place = { chain: name, seq: lines.length + 1, time: new Date(NOW + lines.length * 10) };
    lines.push(
      formatRecord(
        { ...about, ...place, kind, facts },
        before === undefined ? FIRST_PREVIOUS : hashRecord(before),
      ),
    );
  }
  return lines;
}

const ofCa = chain('ca', [
  'certificate',
  { serial: '7', commands: [{ command: 'app.pull', digest: DIGEST, params: { ref: 'main' } }] },
]);
const ofBroker = chain('broker', ['run-created', {}], ['step-started', { command: 'app.pull' }]);
const ofHost = chain(
  'host/build-01',
  ['session-opened', { serial: '7' }],
  ['command-started', { serial: '7', index: 0, command: 'app.pull', digest: DIGEST }],
  ['command-ended', { serial: '7', index: 0, command: 'app.pull', why: 'ended', code: 0 }],
);
const login = `sshd[9]: Accepted publickey for beacon from 192.0.2.1 port 5 ssh2: ED25519-CERT SHA256:x ID beacon/${GRANT}/github:583231 (serial 7) CA ED25519 SHA256:y`;

function told(host: readonly string[] | undefined): object {
  const lines = (from: 'broker' | 'ca' | 'host', all: readonly string[] = []) =>
    all.map((line) => {
      const { seq, time, kind } = JSON.parse(line);
      return { chain: from, seq, time, kind, grant: GRANT, line };
    });
  const missing = host === undefined ? [{ chain: 'host', reason: 'build-01 cannot be reached' }] : [];
  return {
    grants: [GRANT],
    lines: [...lines('broker', ofBroker), ...lines('host', host)],
    missing,
    findings: [],
  };
}

beforeAll(async () => {
  ca = await startSmallCa({
    intercept: (request, response) => {
      if (request.url?.startsWith('/v1/records') !== true) return false;
      const head = { seq: 1, hash: 'a'.repeat(64) };
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ records: ofCa, head }));
      return true;
    },
  });
  broker = await startSmallBroker(ca);
  home = createHome();
  expect((await home.run(['login', ca.url, '--broker', broker.url])).status).toBe(0);
});
beforeEach(() => {
  broker.knobs.trace = told(ofHost);
});
afterAll(async () => {
  home.remove();
  await broker.close();
  await ca.close();
});

describe('beacon records trace', () => {
  it('joins CA, broker, host and sshd in the order of time, and finds nothing', async () => {
    const file = join(home.directory, 'auth.log');
    writeFileSync(file, `sshd[9]: Server listening\n${login}\n`);
    const result = await home.run(['records', 'trace', GRANT, '--sshd-log', file]);
    expect(result).toMatchObject({ status: 0, stderr: '' });
    const kinds = result.stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/)[2]);
    expect(kinds.slice(0, 7).toSorted()).toEqual(
      [
        'certificate',
        'run-created',
        'accepted',
        'session-opened',
        'step-started',
        'command-started',
        'command-ended',
      ].toSorted(),
    );
    expect(result.stdout).toContain('7 entries, and all that was read matches\n');
    expect(result.stdout).not.toContain(DIGEST);
  });

  it('names what does not match, and ends with 1', async () => {
    const other = ofHost.map((line) => line.replaceAll(DIGEST, `B${DIGEST.slice(1)}`));
    broker.knobs.trace = told(other.slice(0, 2));
    const result = await home.run(['records', 'trace', GRANT]);
    expect(result.status).toBe(1);
    expect(result.stdout).toContain(
      'DOES NOT MATCH  digest-mismatch: record 2 of host/build-01: app.pull ran',
    );
    expect(result.stderr).toContain('not read: sshd');
  });

  it('reads a copy of the records where the host cannot be asked, and says so where there is none', async () => {
    broker.knobs.trace = told(undefined);
    const file = join(home.directory, 'gate.ndjson');
    writeFileSync(file, `${ofHost.join('\n')}\n`);
    const copied = await home.run(['records', 'trace', GRANT, '--host-records', file, '--json']);
    expect(copied.status).toBe(0);
    expect(JSON.parse(copied.stdout)).toMatchObject({
      grant: GRANT,
      findings: [],
      unread: [{ source: 'sshd', reason: null }],
    });
    const without = await home.run(['records', 'trace', GRANT]);
    expect(without).toMatchObject({
      status: 0,
      stderr: expect.stringContaining('build-01 cannot be reached'),
    });
  });

  it('refuses what is no grant', async () => {
    expect((await home.run(['records', 'trace', '../x'])).status).toBe(64);
  });
});
