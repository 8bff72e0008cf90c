/** A real authorization server made small: our store on a file, GitHub's stand-in, loopback, and browsers as cookie jars. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGitHub } from '@beacon/github';
import { type Standin, startStandin } from '@beacon/github-standin';
import {
  consumeProof,
  createGroupCommit,
  createRecords,
  createSealer,
  type Database,
  type DatabaseOptions,
  type GroupCommit,
  migrate,
  openDatabase,
  proofMigrations,
  type RecordTables,
  recordMigrations,
} from '@beacon/server';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { sql } from 'kysely';
import { freePort } from '../../../infra/demo/free-port.ts';
import type { Caller } from '../src/access-token.ts';
import {
  type AuthorizationServer,
  type AuthorizationTables,
  createAuthorizationServer,
} from '../src/authorization-server.ts';
import { CaError } from '../src/error.ts';
import type { OauthService } from '../src/oauth-client.ts';
import { oauthMigrations } from '../src/oauth-store.ts';
import { sessionMigrations } from '../src/session-store.ts';
import { signInMigrations } from '../src/sign-in-store.ts';

export const PEOPLE = { alice: { id: 583231, login: 'alice' }, bob: { id: 42, login: 'bob' } } as const;

export interface Keys {
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
  readonly thumbprint: string;
  readonly alg: 'EdDSA' | 'ES256';
}

export async function makeKeys(alg: 'EdDSA' | 'ES256' = 'EdDSA'): Promise<Keys> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk), alg };
}

export function sha256(value: string | Buffer): string {
  return createHash('sha256').update(value).digest('base64url');
}

/** A proof; `claims` and `header` override what would be right. */
export async function makeProof(
  keys: Keys,
  method: string,
  url: string,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const all = {
    htm: method,
    htu: url,
    jti: randomBytes(16).toString('base64url'),
    iat: Math.floor(Date.now() / 1000),
    ...claims,
  };
  return new SignJWT(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))
    .setProtectedHeader({ alg: keys.alg, typ: 'dpop+jwt', jwk: keys.jwk, ...header } as never)
    .sign(keys.privateKey);
}

/** A browser without scripts: cookies by name and path, no redirection followed unless asked. */
export class Browser {
  readonly jar = new Map<string, { value: string; path: string }>();
  readonly setCookies: string[] = [];

  async request(url: string, init: { form?: Record<string, string>; headers?: Record<string, string> } = {}) {
    const { pathname } = new URL(url);
    const cookies = [...this.jar]
      .filter(([, { path }]) => path === '/' || pathname === path || pathname.startsWith(`${path}/`))
      .map(([key, { value }]) => `${key.split(' ', 1).join('')}=${value}`);
    const response = await fetch(url, {
      method: init.form === undefined ? 'GET' : 'POST',
      redirect: 'manual',
      headers: {
        accept: 'text/html',
        'user-agent': 'lab-browser/1',
        ...(cookies.length > 0 ? { cookie: cookies.join('; ') } : {}),
        ...init.headers,
      },
      ...(init.form === undefined ? {} : { body: new URLSearchParams(init.form) }),
    });
    for (const line of response.headers.getSetCookie()) {
      this.setCookies.push(line);
      const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
      const at = pair.indexOf('=');
      const path = attributes.find((one) => /^path=/i.test(one))?.slice(5) ?? '/';
      const key = `${pair.slice(0, at)} ${path}`;
      if (pair.length === at + 1 || attributes.some((one) => /^expires=Thu, 01 Jan 1970/i.test(one)))
        this.jar.delete(key);
      else this.jar.set(key, { value: pair.slice(at + 1), path });
    }
    return {
      status: response.status,
      location: response.headers.get('location'),
      headers: response.headers,
      text: await response.text(),
      url,
    };
  }

  cookie(name: string): string | undefined {
    return [...this.jar].find(([key]) => key.startsWith(`${name} `))?.[1].value;
  }
}

export type Visit = Awaited<ReturnType<Browser['request']>>;

export function fieldOf(html: string, name: string): string {
  const value = new RegExp(`name="${name}" value="([^"]*)"`).exec(html)?.[1];
  if (value === undefined) throw new Error(`no field ${name} in ${html}`);
  return value;
}

export interface LabOptions {
  /** Where the store is; a SQLite file of its own when absent. */
  readonly place?: DatabaseOptions;
  readonly services?: readonly OauthService[];
  readonly sessionMaxHours?: number;
  /** The public URL when it is not where the lab listens, as behind a TLS proxy. */
  readonly issuer?: string;
}

export class Lab {
  readonly folder: string;
  readonly standin: Standin;
  readonly url: string;
  readonly services: readonly OauthService[];
  readonly clientId: string;
  readonly disabled = new Set<string>();
  readonly warnings: unknown[] = [];
  readonly #jwk: JWK & { kid: string };
  readonly #sealingKey = randomBytes(32);
  readonly #port: number;
  readonly #maxHours: number;
  readonly issuer: string;
  readonly secret: string;
  #server: Server | undefined;
  database!: Database<AuthorizationTables & RecordTables>;
  commit!: GroupCommit<AuthorizationTables & RecordTables>;
  authorization!: AuthorizationServer;

  readonly #place: DatabaseOptions | undefined;

  private constructor(given: {
    place: DatabaseOptions | undefined;
    standin: Standin;
    port: number;
    jwk: JWK & { kid: string };
    services: readonly OauthService[];
    app: { clientId: string; clientSecret: string };
    maxHours: number;
    issuer: string | undefined;
  }) {
    this.#place = given.place;
    this.folder = mkdtempSync(join(tmpdir(), 'beacon-authorization-'));
    this.standin = given.standin;
    this.#port = given.port;
    this.url = `http://127.0.0.1:${given.port}`;
    this.#jwk = given.jwk;
    this.services = given.services;
    this.clientId = given.app.clientId;
    this.secret = given.app.clientSecret;
    this.#maxHours = given.maxHours;
    this.issuer = given.issuer ?? this.url;
  }

  static async start(options: LabOptions = {}): Promise<Lab> {
    const standin = await startStandin();
    const port = await freePort();
    for (const person of Object.values(PEOPLE)) standin.state.addPerson(person);
    const app = standin.state.addApp({ callbackUrls: [`http://127.0.0.1:${port}/sign-in/github/callback`] });
    const { privateKey } = await generateKeyPair('EdDSA', { extractable: true });
    const jwk = { ...(await exportJWK(privateKey)), kid: 'tokens-1' };
    const lab = new Lab({
      place: options.place,
      standin,
      port,
      jwk,
      services: options.services ?? [],
      app,
      maxHours: options.sessionMaxHours ?? 8,
      issuer: options.issuer,
    });
    await lab.up();
    return lab;
  }

  get signingJwk(): JWK & { kid: string } {
    return this.#jwk;
  }

  async up(): Promise<void> {
    this.database = openDatabase(this.#place ?? { file: join(this.folder, 'ca.db') });
    await migrate(
      this.database,
      recordMigrations,
      oauthMigrations,
      sessionMigrations,
      signInMigrations,
      proofMigrations,
    );
    this.commit = createGroupCommit(this.database);
    const now = () => new Date();
    const github = createGitHub({
      apiUrl: this.standin.url,
      webUrl: this.standin.url,
      clientId: this.clientId,
      clientSecret: () => this.secret,
      provider: 'github',
      timeoutMs: 1_000,
      retryWaitMs: 10,
    });
    this.authorization = await createAuthorizationServer({
      issuer: this.issuer,
      signingJwk: this.#jwk,
      sealer: createSealer(this.#sealingKey),
      store: this.database,
      commit: this.commit,
      records: createRecords({ chain: 'ca', now }),
      services: this.services,
      github,
      githubClientId: this.clientId,
      now,
      sessionMaxHours: this.#maxHours,
      isDisabled: async (person) => this.disabled.has(person),
      onServiceProven: async () => undefined,
      log: {
        warn: (fields: unknown) => this.warnings.push(fields),
        error: (fields: unknown) => this.warnings.push(fields),
      } as never,
    });
    const server = createServer((request, response) => {
      // A client's pool must not meet a server that is down for a restart.
      response.setHeader('connection', 'close');
      this.authorization.router(request, response, (error) => {
        if (error !== undefined) {
          this.warnings.push(error);
          response.writeHead(500).end('{"error":"internal"}');
          return;
        }
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () => void this.#api(request, response, Buffer.concat(chunks)));
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
  }

  /** What stands for the API half: tells who calls, and uses the proof up. */
  async #api(
    request: import('node:http').IncomingMessage,
    response: import('node:http').ServerResponse,
    rawBody: Buffer,
  ): Promise<void> {
    const path = (request.url ?? '/').split('?', 1).join('');
    if (path !== '/v1/whoami') return void response.writeHead(404).end('{"error":"path-unknown"}');
    try {
      const caller: Caller = await this.authorization.authenticate({
        request: {
          id: 'r',
          ip: '127.0.0.1',
          method: request.method ?? '',
          path,
          url: `${this.url}${path}`,
          headers: request.headers as Record<string, string | undefined>,
        },
        rawBody,
      });
      if (!(await this.commit.write((tx) => consumeProof(tx, caller.proof)))) {
        throw new CaError('proof-replayed', 'used');
      }
      response.writeHead(200).end(JSON.stringify(caller));
    } catch (error) {
      if (!(error instanceof CaError)) this.warnings.push(error);
      response
        .writeHead(error instanceof CaError ? 401 : 500)
        .end(JSON.stringify({ error: error instanceof CaError ? error.code : String(error) }));
    }
  }

  async down(): Promise<void> {
    const server = this.#server;
    await new Promise<void>((resolve) => {
      server?.close(() => resolve());
      server?.closeAllConnections();
    });
    await this.commit.close();
    await this.database.destroy();
  }

  async restart(): Promise<void> {
    await this.down();
    await this.up();
  }

  async close(): Promise<void> {
    await this.down();
    await this.standin.close();
    rmSync(this.folder, { recursive: true });
  }

  /** From now on nothing can be added to or changed in this table, of rows for which `when` holds; all the rest is well. */
  async breakTable(table: string, when = '1'): Promise<void> {
    for (const change of ['insert', 'update'])
      await sql
        .raw(
          `create trigger break_${table}_${change} before ${change} on ${table} when ${when} begin select raise(fail, 'disk I/O error'); end`,
        )
        .execute(this.database);
  }

  async mendTable(table: string): Promise<void> {
    for (const change of ['insert', 'update'])
      await sql.raw(`drop trigger break_${table}_${change}`).execute(this.database);
  }

  /** Every byte that the store has on disk. */
  storedBytes(): Buffer {
    return Buffer.concat(readdirSync(this.folder).map((name) => readFileSync(join(this.folder, name))));
  }

  /** Follows redirections, playing the person at GitHub's page, until a page of ours or a foreign address. */
  async travel(browser: Browser, url: string, login: string): Promise<Visit> {
    let visit = await browser.request(url);
    for (let hops = 0; hops < 12; hops++) {
      if (visit.location !== null) {
        const next = new URL(visit.location, visit.url).href;
        if (!next.startsWith(this.url) && !next.startsWith(this.standin.url)) return visit;
        visit = await browser.request(next);
      } else if (visit.url.startsWith(this.standin.url)) {
        const fields = Object.fromEntries(new URL(visit.url).searchParams);
        visit = await browser.request(`${this.standin.url}/login/oauth/authorize`, {
          form: { ...fields, person: login },
        });
      } else return visit;
    }
    throw new Error('too many redirections');
  }

  async post(path: string, form: Record<string, string | string[]>, headers: Record<string, string> = {}) {
    const body = new URLSearchParams();
    for (const [name, value] of Object.entries(form))
      for (const one of [value].flat()) body.append(name, one);
    const response = await fetch(`${this.url}${path}`, { method: 'POST', body, headers });
    const text = await response.text();
    const answer: Record<string, unknown> = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
    return { status: response.status, answer, headers: response.headers };
  }

  /** A request to the token endpoint with a proof by `keys`. */
  async token(keys: Keys, form: Record<string, string | string[]>, claims: Record<string, unknown> = {}) {
    const proof = await makeProof(keys, 'POST', `${this.url}/oauth/token`, claims);
    return this.post('/oauth/token', form, { dpop: proof });
  }

  async beginDevice(resource: string | string[] = 'urn:beacon:ca') {
    const { status, answer } = await this.post('/oauth/device', { client_id: 'beacon-cli', resource });
    if (status !== 200) throw new Error(JSON.stringify(answer));
    return { deviceCode: String(answer['device_code']), userCode: String(answer['user_code']), answer };
  }

  pollDevice(keys: Keys, deviceCode: string, more: Record<string, string> = {}) {
    return this.token(keys, {
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
      client_id: 'beacon-cli',
      device_code: deviceCode,
      ...more,
    });
  }

  /** The person's part: GitHub, the code, the word. Resolves with the last page. */
  async approveDevice(browser: Browser, userCode: string, login: string): Promise<Visit> {
    const form = await this.travel(browser, `${this.url}/device`, login);
    const confirm = await browser.request(`${this.url}/device`, {
      form: { xsrf: fieldOf(form.text, 'xsrf'), user_code: userCode },
    });
    if (confirm.status !== 200) return confirm;
    const said = await browser.request(`${this.url}/device`, {
      form: {
        xsrf: fieldOf(confirm.text, 'xsrf'),
        user_code: fieldOf(confirm.text, 'user_code'),
        confirm: 'yes',
      },
    });
    return said.location === null ? said : this.travel(browser, new URL(said.location, this.url).href, login);
  }

  /** A whole login by the device grant. */
  async login(keys: Keys, login = 'alice', resource: string | string[] = 'urn:beacon:ca'): Promise<Tokens> {
    const { deviceCode, userCode } = await this.beginDevice(resource);
    const done = await this.approveDevice(new Browser(), userCode, login);
    if (!done.text.includes('Your terminal is signed in')) throw new Error(`${done.status} ${done.text}`);
    const { status, answer } = await this.pollDevice(keys, deviceCode);
    if (status !== 200) throw new Error(JSON.stringify(answer));
    return { access: String(answer['access_token']), refresh: String(answer['refresh_token']), answer };
  }

  refresh(keys: Keys, refreshToken: string, more: Record<string, string> = {}) {
    return this.token(keys, {
      grant_type: 'refresh_token',
      client_id: 'beacon-cli',
      refresh_token: refreshToken,
      ...more,
    });
  }

  async whoami(
    keys: Keys,
    accessToken: string,
    options: { claims?: Record<string, unknown>; body?: string; scheme?: string } = {},
  ) {
    const { body } = options;
    const method = body === undefined ? 'GET' : 'POST';
    const proof = await makeProof(keys, method, `${this.url}/v1/whoami`, {
      ath: sha256(accessToken),
      ...(body === undefined ? {} : { body: sha256(body) }),
      ...options.claims,
    });
    return this.callApi(method, accessToken, proof, body, options.scheme);
  }

  async callApi(method: string, accessToken: string, proof: string, body?: string, scheme = 'DPoP') {
    const response = await fetch(`${this.url}/v1/whoami`, {
      method,
      headers: { authorization: `${scheme} ${accessToken}`, dpop: proof },
      ...(body === undefined ? {} : { body }),
    });
    return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
  }
}

export interface Tokens {
  readonly access: string;
  readonly refresh: string;
  readonly answer: Record<string, unknown>;
}

/** A service with its own key for assertions. */
export async function makeService(
  id: string,
  may: readonly string[],
  redirectUris: readonly string[] = [],
): Promise<{
  service: OauthService;
  keys: Keys;
  assertion: (url: string, claims?: Record<string, unknown>) => Promise<Record<string, string>>;
}> {
  const keys = await makeKeys('ES256');
  const kid = `${id}-1`;
  return {
    service: {
      id,
      name: `Service ${id}`,
      keys: [{ ...keys.jwk, kid, kty: keys.jwk.kty ?? '' }],
      redirect_uris: redirectUris,
      may,
    },
    keys,
    async assertion(issuer, claims = {}) {
      const assertion = await new SignJWT({ jti: randomBytes(16).toString('base64url'), ...claims })
        .setProtectedHeader({ alg: keys.alg, kid })
        .setIssuer(id)
        .setSubject(id)
        .setAudience(issuer)
        .setIssuedAt()
        .setExpirationTime('60s')
        .sign(keys.privateKey);
      return {
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: assertion,
      };
    },
  };
}
