/** Two real CA processes on one PostgreSQL, under load, one of them killed in its midst. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createProof,
  discoverCa,
  finishDeviceLogin,
  generateProofKey,
  type ProofKey,
  startDeviceLogin,
} from '@beacon/client';
import { type Standin, startStandin } from '@beacon/github-standin';
import { openDatabase, type RecordAnchor, verifyRecords } from '@beacon/server';
import { generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createSigner, type Signer } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { approveLogin } from '../../../infra/demo/approve-login.ts';
import { freePort } from '../../../infra/demo/free-port.ts';
import { type Cluster, startCluster } from '../../server/test/postgres.ts';
import type { Tables } from '../src/ca.ts';
import { initCa } from '../src/init.ts';
import { ENVIRONMENT } from './run-main.ts';

const CLIENT_ID = 'Iv1.replicas000000';
const CLIENT_SECRET = 'replicas-client-secret-0123456789ab';
const NAMES = ['ada', 'lin', 'kim', 'sam'];

const POLICY = `
@id("everybody-logs-in") @max_lifetime("15m")
permit (principal, action == Action::"ssh", resource in Pool::"web");
`;

interface Person {
  readonly key: ProofKey;
  readonly token: string;
  readonly signer: Signer;
}

interface Issued {
  readonly serial: string;
  readonly record: RecordAnchor;
}

/** One process that serves, and may be killed and started again. */
class Replica {
  readonly configuration: string;
  readonly url: string;
  log = '';
  #child: ChildProcess | undefined;

  constructor(configuration: string, port: number) {
    this.configuration = configuration;
    this.url = `http://127.0.0.1:${port}`;
  }

  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [
        ...['--conditions=@beacon/source', '--no-warnings', join(import.meta.dirname, 'serving-process.ts')],
        ...['ca', 'serve', '--config', this.configuration],
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: ENVIRONMENT },
    );
    child.stderr?.on('data', (data: Buffer) => (this.log += data.toString()));
    this.#child = child;
    for (let i = 0; i < 600; i++) {
      if (child.exitCode !== null) throw new Error(`the CA ended: ${this.log}`);
      const ready = await fetch(`${this.url}/readyz`).catch(() => undefined);
      if (ready?.status === 200) return;
      await sleep(100);
    }
    throw new Error(`the CA did not start: ${this.log}`);
  }

  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }
}

let cluster: Cluster;
let standin: Standin;
let storeUrl: string;
let publicUrl: string;
let folder: string;
let replicas: readonly Replica[] = [];
const persons: Person[] = [];

beforeAll(async () => {
  cluster = await startCluster({ durable: true });
  storeUrl = await cluster.createDatabase();
  standin = await startStandin();
  const ports = [await freePort(), await freePort()] as const;
  publicUrl = `http://127.0.0.1:${ports[0]}`;
  const { state } = standin;
  state.addApp({
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    callbackUrls: [`${publicUrl}/sign-in/github/callback`],
  });
  for (const [index, login] of NAMES.entries()) state.addPerson({ login, id: 101 + index });
  replicas = await makeReplicas(ports);
  // Both make the tables, at the same time.
  await Promise.all(replicas.map((replica) => replica.start()));
  for (const name of NAMES) persons.push(await login(name));
  const [ada] = persons;
  if (ada === undefined) throw new Error('nobody is there');
  const added = await ask(second(), ada, '/v1/hosts', {
    v: 1,
    id: 'web-01',
    address: '192.0.2.77',
    port: 22,
    logins: ['deploy'],
    labels: {},
    pools: ['web'],
    host_key: formatPublicKeyLine(newSigner().publicKey),
  });
  expect(added.status).toBe(201);
}, 300_000);

afterAll(async () => {
  for (const replica of replicas) await replica.end('SIGTERM');
  await standin.close();
  await cluster.stop();
  rmSync(dirname(folder), { recursive: true, force: true });
});

async function makeReplicas(ports: readonly [number, number]): Promise<readonly Replica[]> {
  folder = join(mkdtempSync(join(tmpdir(), 'beacon-replicas-')), 'ca');
  await initCa({
    folder,
    publicUrl,
    listenHost: '127.0.0.1',
    listenPort: ports[0],
    provider: 'github',
    webUrl: standin.url,
    apiUrl: standin.enterpriseApiUrl,
    clientId: CLIENT_ID,
    administratorLogin: 'ada',
  });
  const secret = { mode: 0o600 };
  writeFileSync(join(folder, 'keys', 'github_client_secret'), CLIENT_SECRET, secret);
  writeFileSync(join(folder, 'keys', 'postgres_url'), storeUrl, secret);
  appendFileSync(join(folder, 'policy', 'policy.cedar'), POLICY);
  const text = readFileSync(join(folder, 'ca.yaml'), 'utf8');
  return ports.map((port, index) => {
    const file = join(folder, `ca-${index}.yaml`);
    writeFileSync(
      file,
      `${text
        .replace(/^store:.*$/m, 'store: { postgres_url_file: keys/postgres_url }')
        .replace(/^( +port:).*$/m, `$1 ${port}`)}\ntrusted_proxies: ['127.0.0.1']\n`,
    );
    return new Replica(file, port);
  });
}

async function login(name: string): Promise<Person> {
  const key = generateProofKey();
  const client = {
    metadata: await discoverCa(publicUrl),
    clientId: 'beacon-cli',
    proofKey: key,
    resources: ['urn:beacon:ca'],
  };
  const begun = await startDeviceLogin(client);
  await approveLogin(begun, name);
  const tokens = await finishDeviceLogin(client, { ...begun, intervalMs: 0 });
  return { key, token: tokens.accessToken, signer: newSigner() };
}

/** The one that is killed. */
function second(): Replica {
  const [, other] = replicas;
  if (other === undefined) throw new Error('there is no second one');
  return other;
}

let asked = 0;

/** One request to one replica; the proof is for the URL that both stand behind. */
async function ask(replica: Replica, who: Person, path: string, body: unknown, ready?: Prepared) {
  const { raw, proof } = ready ?? (await prepare(who, path, body));
  asked += 1;
  const answer = await fetch(`${replica.url}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `DPoP ${who.token}`,
      dpop: proof,
      'x-forwarded-for': `198.51.${Math.floor(asked / 250) % 250}.${(asked % 250) + 1}`,
    },
    body: raw,
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

interface Prepared {
  readonly raw: string;
  readonly proof: string;
}

async function prepare(who: Person, path: string, body: unknown, signer?: Signer): Promise<Prepared> {
  const raw = JSON.stringify(body);
  const keyProof =
    signer === undefined
      ? {}
      : {
          keyProof: (await signMessage(signer, 'certificate@beacon', Buffer.from(raw))).toString('base64url'),
        };
  const proof = await createProof(who.key, {
    method: 'POST',
    url: `${publicUrl}${path}`,
    now: new Date(),
    accessToken: who.token,
    body: Buffer.from(raw),
    ...keyProof,
  });
  return { raw, proof };
}

/** One request for a certificate, shown to both replicas at once; what each of them answered, or nothing when it died. */
async function askBoth(who: Person): Promise<Issued[]> {
  const path = '/v1/certificates';
  const body = {
    v: 1,
    host: 'web-01',
    login: 'deploy',
    public_key: formatPublicKeyLine(who.signer.publicKey),
    lifetime_seconds: 900,
  };
  const ready = await prepare(who, path, body, who.signer);
  const answers = await Promise.allSettled(
    replicas.map((replica) => ask(replica, who, path, undefined, ready)),
  );
  const issued: Issued[] = [];
  for (const answer of answers) {
    if (answer.status === 'rejected') continue;
    const { status, body: said } = answer.value;
    if (status === 201) issued.push(said as unknown as Issued);
    else if (said['code'] !== 'proof-replayed') throw new Error(`${status} ${JSON.stringify(said)}`);
  }
  return issued;
}

describe('two processes on one PostgreSQL', () => {
  test('A10, L4: one killed under load, serials rise by one, the chain is one, and no proof counts twice', async () => {
    const perPerson = 60;
    const answers: Issued[][] = [];
    let killed: Promise<void> | undefined;
    const total = perPerson * persons.length;
    const load = persons.map(async (who) => {
      const work = Array.from({ length: 6 }, async () => {
        for (let i = 0; i < perPerson / 6; i++) {
          answers.push(await askBoth(who));
          if (killed === undefined && answers.length > total / 3) killed = second().end('SIGKILL');
        }
      });
      await Promise.all(work);
    });
    await Promise.all(load);
    await killed;
    expect(killed).toBeDefined();
    expect(answers).toHaveLength(total);
    expect(answers.filter((one) => one.length > 1)).toEqual([]);
    const issued = answers.flat();
    // What the killed one was in the middle of may have no answer, and every other proof has one.
    expect(issued.length).toBeGreaterThan(total - 2 * 24);
    await second().start();
    await check(issued);
    const [lin] = persons.slice(1);
    if (lin === undefined) throw new Error('nobody is there');
    const after = await askBoth(lin);
    expect(after).toHaveLength(1);
    await check([...issued, ...after]);
  }, 300_000);
});

async function check(issued: readonly Issued[]): Promise<void> {
  const store = openDatabase<Tables>({ url: storeUrl, readOnly: true });
  try {
    const anchors = issued.map(({ record }) => record);
    expect(await verifyRecords(store, { chain: 'ca', anchors })).toMatchObject({ ok: true });
    const rows = await store.selectFrom('certificates').selectAll().orderBy('record_seq').execute();
    const serials = rows.map(({ serial }) => BigInt(serial));
    expect(serials).toEqual(serials.map((_, index) => BigInt(index + 1)));
    const known = new Set(serials.map(String));
    expect(issued.filter(({ serial }) => !known.has(serial))).toEqual([]);
    expect(new Set(issued.map(({ serial }) => serial)).size).toBe(issued.length);
    const recorded = await store
      .selectFrom('records')
      .select('line')
      .where('kind', '=', 'certificate')
      .orderBy('seq')
      .execute();
    const recordedSerials = recorded.map(({ line }) =>
      BigInt((JSON.parse(line) as { facts: { serial: string } }).facts.serial),
    );
    const userSerials = rows.filter(({ kind }) => kind === 'user').map(({ serial }) => BigInt(serial));
    expect(recordedSerials).toEqual(userSerials);
  } finally {
    await store.destroy();
  }
}

function newSigner(): Signer {
  return createSigner(generateKey('ssh-ed25519').privateKey);
}
