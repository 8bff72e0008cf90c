/**
 * The real CA made small: its store in a file of its own, keys made in memory, a clock that tests can move, GitHub's
 * stand-in, loopback. Persons log in by the device grant over HTTP; nothing is played but GitHub and the browser.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CaApi,
  createCaApi,
  createProof,
  discoverCa,
  exchangeToken,
  finishDeviceLogin,
  generateProofKey,
  type ProofKey,
  startDeviceLogin,
} from '@beacon/client';
import { type Standin, startStandin } from '@beacon/github-standin';
import type { Inventory, PolicyFile } from '@beacon/policy';
import { parseInventory } from '@beacon/policy';
import { hashRecord, parseRecord, type RecordFields } from '@beacon/protocol/record';
import { createLog, type DatabaseOptions, openDatabase, verifyRecords } from '@beacon/server';
import { generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createHostCa, createUserCa } from '@beacon/ssh/sign-certificate';
import { createSigner, type Signer } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { exportJWK, generateKeyPair } from 'jose';
import { approveLogin } from '../../../infra/demo/approve-login.ts';
import { freePort } from '../../../infra/demo/free-port.ts';
import type { Tables } from '../src/ca.ts';
import { type CaOptions, createCa, type RunningCa } from '../src/create-ca.ts';
import type { CaKeys } from '../src/keys.ts';
import type { Service } from '../src/services-configuration.ts';

/** Ada administers, Lin is in the team, Mallory is outside, Una's organisation wants a single sign-on of her. */
export const PERSONS = { ada: 101, lin: 102, mallory: 103, una: 104, kim: 105, sam: 106 } as const;
export type Name = keyof typeof PERSONS;

const WEB_TEAM = 7001;
const EXAMPLE = 7000;
const SSO_ORGANIZATION = 7100;
export const GITHUB = { example: EXAMPLE, webTeam: WEB_TEAM, ssoOrganization: SSO_ORGANIZATION } as const;

export const inventory = parseInventory({
  version: 1,
  commands: {
    'runner.install': {
      undo: 'runner.remove',
      params: { name: { pattern: '[a-z0-9][a-z0-9-]{0,62}' }, version: { pattern: '[0-9.]{1,20}' } },
    },
    'runner.configure': {
      undo: 'runner.remove',
      params: {
        name: { pattern: '[a-z0-9][a-z0-9-]{0,62}' },
        scope: { pattern: '[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}' },
        token: { pattern: '.{1,200}', secret: true },
      },
    },
    'runner.remove': { params: { name: { pattern: '[a-z0-9][a-z0-9-]{0,62}' } } },
    'disk.wipe': { params: {} },
  },
});

/** One person and one address do here in a minute what many do elsewhere: nothing may meet a limit by being quick. */
const WIDE = { requests: 1_000_000, perSeconds: 60 };

export const policyText = `
@id("administrators")
permit (
  principal == Person::"github:101",
  action in [Action::"ca.hosts", Action::"ca.persons", Action::"ca.revoke", Action::"ca.records", Action::"ca.decisions", Action::"ca.rotate"],
  resource
);
@id("web-team-logs-in") @max_lifetime("15m") @extensions("permit-pty")
permit (principal in Team::"github:7001", action == Action::"ssh", resource in Pool::"web")
when { context.login == "deploy" };
@id("ada-everywhere") @max_lifetime("1h")
permit (principal == Person::"github:101", action == Action::"ssh", resource);
@id("sso-team-logs-in")
permit (principal in Team::"github:7101", action == Action::"ssh", resource in Pool::"web");
@id("web-team-runs") @max_lifetime("30m")
permit (
  principal in Team::"github:7001",
  action in [Action::"runner.install", Action::"runner.configure"],
  resource in Pool::"web"
) when { context.service == "portal" };
`;

export interface Clock {
  readonly now: () => Date;
  /** How far the CA's clock is from the real one. */
  offsetMs: number;
  /** Stands still here, when set. */
  frozenAt: Date | undefined;
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are taken apart in many ways
  readonly body: Record<string, any>;
}

/** Somebody who is logged in, at one client. */
export interface LoggedIn {
  readonly person: string;
  readonly proofKey: ProofKey;
  readonly accessToken: string;
  readonly refreshToken: string;
}

export interface AskOptions {
  readonly raw?: string | Buffer;
  readonly keyProof?: string;
  /** A proof made before, to be shown again. */
  readonly proof?: string;
  readonly headers?: Record<string, string>;
}

export interface Wish {
  readonly host?: unknown;
  readonly login?: unknown;
  readonly lifetime_seconds?: unknown;
  readonly commands?: unknown;
  readonly [key: string]: unknown;
}

export interface SmallCaOptions {
  /** Where the store is; a SQLite file of its own when absent. */
  readonly place?: DatabaseOptions;
  readonly policy?: string;
  readonly folder?: string;
  readonly sessionMaxHours?: number;
  readonly trustedProxies?: readonly string[];
  readonly keys?: CaKeys;
  readonly githubTimeoutMs?: number;
  /** Keeps no line of the log for each request. */
  readonly quiet?: boolean;
  /** Whether web-01 and db-01 are there; true when absent. */
  readonly hosts?: boolean;
  /** In place of {@link inventory}. */
  readonly inventory?: Inventory;
}

export const CLIENT_SECRET = 'small-ca-client-secret-0123456789abcdef';
/** A file system whose fsync costs nothing; what must survive a crash is shown on a real one. */
const MEMORY = '/dev/shm';
const CLIENT_ID = 'Iv1.smallca0000000';

export async function makeKeys(): Promise<CaKeys> {
  const authority = () => createSigner(generateKey('ssh-ed25519').privateKey);
  const { privateKey } = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true });
  return {
    userCa: createUserCa(authority()),
    hostCa: createHostCa(authority()),
    tokenSigning: { ...(await exportJWK(privateKey)), kid: 'tokens-1', alg: 'EdDSA' },
    sealing: randomBytes(32),
  };
}

export class SmallCa {
  readonly folder: string;
  readonly standin: Standin;
  readonly keys: CaKeys;
  readonly portal: { readonly service: Service; readonly key: ProofKey };
  readonly clock: Clock;
  readonly logs: string[] = [];
  /** Every certificate that was handed out, as its line. */
  readonly issued: string[] = [];
  /** Every token, code and proof that was sent or received: they must stand nowhere. */
  readonly canaries: string[] = [CLIENT_SECRET];
  /** The whole text of every refusal. */
  readonly refusals: string[] = [];
  #requests = 0;
  url = '';
  running!: RunningCa;
  options!: CaOptions;
  #server: Server | undefined;
  readonly #given: SmallCaOptions;

  private constructor(given: SmallCaOptions, standin: Standin, keys: CaKeys) {
    this.#given = given;
    this.folder =
      given.folder ?? mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'beacon-small-ca-'));
    this.standin = standin;
    this.keys = keys;
    const clock: Clock = {
      offsetMs: 0,
      frozenAt: undefined,
      now: () => clock.frozenAt ?? new Date(Date.now() + clock.offsetMs),
    };
    this.clock = clock;
    const key = generateProofKey();
    this.portal = {
      key,
      service: {
        id: 'portal',
        name: 'The portal',
        keys: [{ ...key.publicJwk, kid: 'portal-1' }],
        redirect_uris: ['https://portal.example/callback'],
        may: ['login', 'exchange', 'run-certificates', 'github-token'],
        source_addresses: ['192.0.2.10/32', '2001:db8::/64'],
      },
    };
  }

  /** A CA with two hosts: web-01 in the pool web (logins deploy, beacon), db-01 in the pool db (login root). */
  static async start(given: SmallCaOptions = {}): Promise<SmallCa> {
    const ca = new SmallCa(given, await startStandin(), given.keys ?? (await makeKeys()));
    await ca.up();
    ca.#populate();
    if (given.hosts !== false) {
      const ada = await ca.login('ada');
      await ca.addHost(ada, 'web-01', { pools: ['web'], logins: ['deploy', 'beacon'] });
      await ca.addHost(ada, 'db-01', { pools: ['db'], logins: ['root'] });
    }
    return ca;
  }

  #populate(): void {
    const { state } = this.standin;
    state.addApp({
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
      callbackUrls: [`${this.url}/sign-in/github/callback`],
    });
    for (const [login, id] of Object.entries(PERSONS)) state.addPerson({ login, id });
    state.addOrganization({ id: EXAMPLE, login: 'example' });
    state.installApp(EXAMPLE, CLIENT_ID);
    state.addTeam({ organization: EXAMPLE, id: WEB_TEAM, slug: 'web' });
    for (const name of ['ada', 'lin', 'mallory', 'kim', 'sam'] as const)
      state.setMember(EXAMPLE, PERSONS[name], 'active');
    for (const name of ['lin', 'kim', 'sam'] as const) state.setTeamMember(WEB_TEAM, PERSONS[name], true);
    state.addOrganization({ id: SSO_ORGANIZATION, login: 'single' });
    state.installApp(SSO_ORGANIZATION, CLIENT_ID);
    state.addTeam({ organization: SSO_ORGANIZATION, id: 7101, slug: 'all' });
    state.setMember(SSO_ORGANIZATION, PERSONS.una, 'active');
    state.setTeamMember(7101, PERSONS.una, true);
    state.setSso(SSO_ORGANIZATION, true);
  }

  get place(): DatabaseOptions {
    return this.#given.place ?? { file: this.storeFile };
  }

  get storeFile(): string {
    return join(this.folder, 'ca.db');
  }

  /** The settings that this CA runs with. */
  caOptions(
    policies: readonly PolicyFile[] = [{ name: 'a.cedar', text: this.#given.policy ?? policyText }],
  ): CaOptions {
    return {
      publicUrl: this.url,
      trustedProxies: this.#given.trustedProxies ?? [],
      store: this.place,
      keys: this.keys,
      github: {
        provider: 'github',
        webUrl: this.standin.url,
        apiUrl: this.standin.url,
        clientId: CLIENT_ID,
        clientSecret: () => CLIENT_SECRET,
        timeoutMs: this.#given.githubTimeoutMs ?? 10_000,
        retryWaitMs: 5,
      },
      services: new Map([['portal', this.portal.service]]),
      policies,
      inventory: this.#given.inventory ?? inventory,
      sessionMaxHours: this.#given.sessionMaxHours ?? 8,
      limits: { perAddress: WIDE, perPerson: WIDE },
      now: this.clock.now,
      log: createLog({
        name: 'ca',
        level: this.#given.quiet === true ? 'warn' : 'debug',
        destination: { write: (line: string) => void this.logs.push(line) },
      }),
      version: '0.0.0',
    };
  }

  async up(change: Partial<CaOptions> = {}): Promise<void> {
    const server = createServer((request, response) => this.running.app(request, response));
    if (this.url === '') this.url = `http://127.0.0.1:${await freePort()}`;
    const port = Number(new URL(this.url).port);
    await new Promise<void>((resolve) => server.listen({ port, host: '127.0.0.1', backlog: 4096 }, resolve));
    this.#server = server;
    this.options = { ...this.caOptions(), ...change };
    try {
      this.running = await createCa(this.options);
    } catch (error) {
      await this.#stopListening();
      throw error;
    }
  }

  async down(): Promise<void> {
    await this.#stopListening();
    await this.running.close();
  }

  async #stopListening(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await new Promise<void>((resolve) => {
      if (server === undefined) return resolve();
      server.close(() => resolve());
      server.closeAllConnections();
    });
    // The other ends learn of it, so that no request is sent into a connection that is gone.
    await sleep(30);
  }

  async restart(change: Partial<CaOptions> = {}): Promise<void> {
    await this.down();
    await this.up(change);
  }

  async close(): Promise<void> {
    if (this.#server !== undefined) await this.down();
    await this.standin.close();
    if (this.#given.folder === undefined) rmSync(this.folder, { recursive: true, force: true });
  }

  /** A whole login by the device grant, the browser played by a cookie jar. */
  async login(name: Name, resources: readonly string[] = ['urn:beacon:ca']): Promise<LoggedIn> {
    const proofKey = generateProofKey();
    const metadata = await discoverCa(this.url);
    const client = { metadata, clientId: 'beacon-cli', proofKey, resources };
    const login = await startDeviceLogin(client);
    await approveLogin(login, name);
    const tokens = await finishDeviceLogin(client, { ...login, intervalMs: 0 });
    const { privateKey } = proofKey;
    this.canaries.push(
      login.deviceCode,
      login.userCode,
      tokens.accessToken,
      tokens.refreshToken ?? login.deviceCode,
    );
    this.canaries.push(String(privateKey.export({ format: 'jwk' }).d));
    return {
      person: `github:${PERSONS[name]}`,
      proofKey,
      accessToken: tokens.accessToken,
      refreshToken: tokens.refreshToken ?? '',
    };
  }

  /** The person at the portal: the portal's own token for the CA, by token exchange. */
  loginAtPortal(name: Name): Promise<LoggedIn> {
    return this.loginAt(this.portal, name);
  }

  /** The same at another service, whose key stands in the services that this CA has. */
  async loginAt({ service, key }: SmallCa['portal'], name: Name): Promise<LoggedIn> {
    const there = await this.login(name, [`urn:beacon:broker:${service.id}`, 'urn:beacon:ca']);
    const { accessToken } = await exchangeToken({
      metadata: await discoverCa(this.url),
      service: { clientId: service.id, privateKey: key.privateKey, keyId: service.keys[0]?.kid ?? '' },
      proofKey: key,
      subjectToken: there.accessToken,
    });
    return { ...there, accessToken, proofKey: key };
  }

  /** The calls of `@beacon/client`, made with that login. */
  api(who: LoggedIn): CaApi {
    return createCaApi({
      issuer: this.url,
      proofKey: who.proofKey,
      accessToken: () => Promise.resolve(who.accessToken),
    });
  }

  proof(
    who: LoggedIn,
    method: string,
    path: string,
    raw?: string | Buffer,
    keyProof?: string,
  ): Promise<string> {
    return createProof(who.proofKey, {
      method,
      url: `${this.url}${path}`,
      now: this.clock.now(),
      accessToken: who.accessToken,
      ...(raw === undefined ? {} : { body: Buffer.from(raw) }),
      ...(keyProof === undefined ? {} : { keyProof }),
    });
  }

  async ask(
    who: LoggedIn,
    method: string,
    path: string,
    body?: unknown,
    options: AskOptions = {},
  ): Promise<Reply> {
    const raw = options.raw ?? (body === undefined ? undefined : JSON.stringify(body));
    const proof = options.proof ?? (await this.proof(who, method, path, raw, options.keyProof));
    this.canaries.push(proof, ...(options.keyProof === undefined ? [] : [options.keyProof]));
    return this.send(method, path, raw, {
      authorization: `DPoP ${who.accessToken}`,
      dpop: proof,
      ...options.headers,
    });
  }

  async send(
    method: string,
    path: string,
    raw?: string | Buffer,
    headers: Record<string, string> = {},
  ): Promise<Reply> {
    const answer = await fetch(`${this.url}${path}`, {
      method,
      headers: {
        ...(raw === undefined ? {} : { 'content-type': 'application/json' }),
        ...(this.#given.trustedProxies === undefined ? {} : { 'x-forwarded-for': this.#nextAddress() }),
        ...headers,
      },
      ...(raw === undefined ? {} : { body: typeof raw === 'string' ? raw : new Uint8Array(raw) }),
    });
    const text = await answer.text();
    const isJson = answer.headers.get('content-type')?.includes('json') === true;
    const body = isJson && text !== '' ? (JSON.parse(text) as Reply['body']) : {};
    if (answer.status === 201 && typeof body['certificate'] === 'string')
      this.issued.push(body['certificate']);
    if (answer.status >= 400)
      this.refusals.push(`${text}\n${[...answer.headers].map((pair) => pair.join(': ')).join('\n')}`);
    return { status: answer.status, headers: answer.headers, text, body };
  }

  /** Behind a proxy every request comes from another address, so that the limit of one address is not met. */
  #nextAddress(): string {
    this.#requests += 1;
    return `198.51.${Math.floor(this.#requests / 250) % 250}.${(this.#requests % 250) + 1}`;
  }

  /** POST /v1/certificates with a fresh key, or the signer's; any field may be replaced, or taken out by `undefined`. */
  async sign(who: LoggedIn, wish: Wish = {}, options: AskOptions & { signer?: Signer } = {}): Promise<Reply> {
    const signer = options.signer ?? newSigner();
    const body = {
      v: 1,
      host: 'web-01',
      login: 'deploy',
      public_key: formatPublicKeyLine(signer.publicKey),
      lifetime_seconds: 900,
      ...wish,
    };
    const raw = options.raw ?? JSON.stringify(body);
    const keyProof =
      options.keyProof ??
      (await signMessage(signer, 'certificate@beacon', Buffer.from(raw))).toString('base64url');
    return this.ask(who, 'POST', '/v1/certificates', undefined, { ...options, raw, keyProof });
  }

  async addHost(
    who: LoggedIn,
    id: string,
    more: { pools?: string[]; logins?: string[]; signer?: Signer; address?: string } = {},
  ): Promise<Reply> {
    const signer = more.signer ?? newSigner();
    return this.ask(who, 'POST', '/v1/hosts', {
      v: 1,
      id,
      address: more.address ?? '192.0.2.77',
      port: 22,
      logins: more.logins ?? ['deploy'],
      labels: { env: 'test' },
      pools: more.pools ?? [],
      host_key: formatPublicKeyLine(signer.publicKey),
    });
  }

  /** All records as they lie in the store, the newest last. */
  async records(): Promise<(RecordFields & { hash: string; line: string })[]> {
    const rows = await this.running.ca.store.selectFrom('records').selectAll().orderBy('seq').execute();
    return rows.map((row) => ({ ...parseRecord(row.line), hash: hashRecord(row.line), line: row.line }));
  }

  async lastRecord(): Promise<RecordFields & { hash: string; line: string }> {
    const last = (await this.records()).at(-1);
    if (last === undefined) throw new Error('there is no record');
    return last;
  }

  /** The serials that were given out, in order. */
  async serials(): Promise<bigint[]> {
    const rows = await this.running.ca.store
      .selectFrom('certificates')
      .select('serial')
      .orderBy('serial')
      .execute();
    return rows.map(({ serial }) => BigInt(serial));
  }

  /** Verifies the chain as a reader from outside would. */
  async verifyChain(anchors: readonly { seq: number; hash: string }[] = []) {
    const store = openDatabase<Tables>({ ...this.place, readOnly: true });
    try {
      return await verifyRecords(store, { chain: 'ca', anchors });
    } finally {
      await store.destroy();
    }
  }

  /** Every byte that the store has on disk, its log included. */
  storedBytes(): Buffer {
    return Buffer.concat(
      readdirSync(this.folder)
        .map((name) => join(this.folder, name))
        .filter((file) => existsSync(file))
        .map((file) => readFileSync(file)),
    );
  }
}

export function newSigner(): Signer {
  return createSigner(generateKey('ssh-ed25519').privateKey);
}

export function sha256(value: string | Buffer): string {
  return createHash('sha256').update(value).digest('base64url');
}

/** `Subject: text` of a refusal, to be compared whole. */
export function refusal(reply: Reply): { status: number; code: unknown } {
  return { status: reply.status, code: reply.body['code'] };
}
