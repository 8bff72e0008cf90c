/**
 * Somebody who has taken over a broker: who holds all of its files, what its store gives when it is opened with a cookie
 * that came by, and the tokens, keys, certificates and requests that went through its memory. Asks CA, GitHub and host as
 * the broker could, with fresh proofs where the key is at hand; every answer is `given` or the code of the refusal.
 */
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import {
  type CaApi,
  type CaMetadata,
  ClientError,
  clientAssertion,
  createCaApi,
  createProof,
  defaultOutside,
  discoverCa,
  generateProofKey,
  importProofKey,
  type Outside,
  type ProofKey,
  type ServiceClient,
} from '@beacon/client';
import type { GateEvent } from '@beacon/protocol/gate-event';
import { createSealer, type Sealer } from '@beacon/server';
import { readCookie, rowOf, sealerOf } from '../../packages/broker/src/portal-cookie.ts';
import type { Browser } from '../demo/browser.ts';
import { GateCaller, type Held, requestOf } from '../demo/gate-caller.ts';
import type { RunnerStage } from '../demo/runner-stage.ts';
import type { InitHost } from '../lab/init-host.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';

/** A token with the key that it is bound to. */
export interface Hold {
  readonly accessToken: string;
  readonly key: ProofKey;
}

/** A request as the CA has taken it, proof and all. */
export interface Overheard {
  readonly url: string;
  readonly init: RequestInit;
}

/** All that one login of a person leaves with the broker. */
export interface Loot {
  readonly cookie: string;
  readonly portal: Hold;
  refreshToken: string;
  /** What a program of the person handed over, and what it was exchanged for. */
  readonly handed: string;
  readonly exchanged: Hold;
  readonly grant: string;
  readonly overheard: readonly Overheard[];
  readonly githubToken: string;
  /** Certificates that open a gate still, for all that their host knows. */
  readonly spare: readonly Held[];
  readonly used: Held;
}

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';

export class BrokerThief {
  readonly at: RunnerStage;
  readonly metadata: CaMetadata;
  readonly service: ServiceClient;
  readonly sealer: Sealer;

  private constructor(at: RunnerStage, metadata: CaMetadata) {
    this.at = at;
    this.metadata = metadata;
    const keys = join(at.broker.folder, 'keys');
    const jwk = JSON.parse(readFileSync(join(keys, 'service.jwk'), 'utf8')) as { kid: string };
    const privateKey = createPrivateKey({ key: jwk as never, format: 'jwk' });
    this.service = { clientId: 'broker', keyId: jwk.kid, privateKey };
    this.sealer = createSealer(Buffer.from(readFileSync(join(keys, 'sealing'), 'utf8'), 'base64'));
  }

  static async breakIn(at: RunnerStage): Promise<BrokerThief> {
    return new BrokerThief(at, await discoverCa(at.stage.caUrl));
  }

  /** The names of all that the store's sessions can be opened by: with the sealing key alone, none. */
  rows(): readonly { readonly id_hash: string; readonly sealed: string }[] {
    const store = new DatabaseSync(join(this.at.broker.folder, 'data', 'broker.db'), { readOnly: true });
    try {
      return store.prepare('select id_hash, sealed from portal_sessions').all() as never;
    } finally {
      store.close();
    }
  }

  /** What stands in the store for a cookie. Throws when it does not open. */
  openRow(cookie: string): { readonly portal: Hold; readonly refreshToken: string } {
    const name = cookie.split('=', 1).join('');
    const ticket = readCookie({ name, isSecure: false, sameSite: 'Strict' }, cookie);
    if (ticket === undefined) throw new Error('that is no cookie of the portal');
    const row = this.rows().find((one) => one.id_hash === rowOf(ticket));
    if (row === undefined) throw new Error('the store has no row for this cookie');
    const text = sealerOf(ticket, this.sealer).open(row.sealed, `portal session ${row.id_hash}`);
    const { login } = JSON.parse(text.toString()) as {
      login: { accessToken: string; refreshToken: string; key: Parameters<typeof importProofKey>[0] };
    };
    const { accessToken, refreshToken, key } = login;
    return { portal: { accessToken, key: importProofKey(key) }, refreshToken };
  }

  /** Takes all that there is to have while a person is logged in by browser and by a program of theirs. */
  async rob(browser: Browser, handed: string, spares: readonly number[]): Promise<Loot> {
    const cookie = [...browser.cookies(this.at.broker.url)]
      .map(([name, value]) => `${name}=${value}`)
      .join('; ');
    const { portal, refreshToken } = this.openRow(cookie);
    const exchanged = await this.exchange(handed);
    if (typeof exchanged === 'string') throw new Error(`the token was not exchanged: ${exchanged}`);
    const overheard: Overheard[] = [];
    const caller = this.callerOf(portal, overheard);
    const spare: Held[] = [];
    for (const seconds of spares) spare.push(await caller.ask([MARK], seconds));
    const used = await caller.ask([MARK]);
    const connection = await caller.connect(used);
    await connection.hello();
    await connection.end();
    const grant = used.obtained.grant;
    const githubToken = await caller.api.githubToken({ grant });
    return { cookie, portal, refreshToken, handed, exchanged, grant, overheard, githubToken, spare, used };
  }

  /** The CA's API by a stolen token; what goes out is kept in `overheard`. */
  apiOf({ accessToken, key }: Hold, overheard: Overheard[] = []): CaApi {
    const outside: Outside = {
      ...defaultOutside(),
      fetch: (url, init = {}) => {
        if (init.method === 'POST') overheard.push({ url: String(url), init: withoutSignal(init) });
        return fetch(url, init);
      },
    };
    const credentials = {
      issuer: this.metadata.issuer,
      proofKey: key,
      accessToken: async () => accessToken,
    };
    return createCaApi(credentials, outside);
  }

  callerOf(hold: Hold, overheard?: Overheard[]): GateCaller<InitHost> {
    return new GateCaller(this.apiOf(hold, overheard), this.at.host, () => undefined);
  }

  /** `POST` to an endpoint of the authorization server as the broker, unless another client is named. */
  async ask(
    parameters: Readonly<Record<string, string>>,
    {
      endpoint = this.metadata.tokenEndpoint,
      key = generateProofKey(),
      client = this.service as ServiceClient | null,
    } = {},
  ): Promise<{ readonly code: string; readonly body: Readonly<Record<string, string>> }> {
    const now = new Date();
    const proven = client === null ? {} : await clientAssertion(client, this.metadata.issuer, now);
    const answer = await fetch(endpoint, {
      method: 'POST',
      headers: { dpop: await createProof(key, { method: 'POST', url: endpoint, now }) },
      body: new URLSearchParams({ ...parameters, ...proven }),
    });
    const body = (await answer.json()) as Record<string, string>;
    return { code: answer.ok ? 'given' : (body['error'] ?? String(answer.status)), body };
  }

  /** The refresh token that comes with a renewal works next time; it is kept. */
  async renew(loot: Loot): Promise<string> {
    const parameters = {
      grant_type: 'refresh_token',
      refresh_token: loot.refreshToken,
      resource: 'urn:beacon:ca',
    };
    const { code, body } = await this.ask(parameters, { key: loot.portal.key });
    loot.refreshToken = body['refresh_token'] ?? loot.refreshToken;
    return code;
  }

  async exchange(subject: string, key = generateProofKey()): Promise<Hold | string> {
    const { code, body } = await this.ask(
      {
        grant_type: EXCHANGE,
        subject_token: subject,
        subject_token_type: ACCESS_TOKEN_TYPE,
        resource: 'urn:beacon:ca',
      },
      { key },
    );
    return body['access_token'] === undefined ? code : { accessToken: body['access_token'], key };
  }

  /** What is asked of the CA's API with one stolen token. */
  async everyRoute(hold: Hold, grant: string): Promise<Readonly<Record<string, string>>> {
    const caller = this.callerOf(hold);
    const { api } = caller;
    const host = this.at.host.target.name;
    const { login } = this.at.host;
    return {
      session: await answerTo(api.whoami()),
      hosts: await answerTo(api.hosts()),
      commands: await answerTo(api.hostCommands(host)),
      decision: await answerTo(
        api.decide({ host, login, lifetime_seconds: 60, commands: [requestOf(MARK.asked)] }),
      ),
      certificate: await answerTo(caller.ask([MARK], 60)),
      'github-token by grant': await answerTo(api.githubToken({ grant })),
      'github-token by command': await answerTo(api.githubToken({ host, command: 'runner.configure' })),
      'records of a grant': await answerTo(api.records({ grant })),
    };
  }

  /** What is asked with all that one login has left. */
  async everything(loot: Loot): Promise<Readonly<Record<string, unknown>>> {
    const exchanged = await this.exchange(loot.handed);
    return {
      renewal: await this.renew(loot),
      exchange: typeof exchanged === 'string' ? exchanged : 'given',
      portal: await this.everyRoute(loot.portal, loot.grant),
      program: await this.everyRoute(loot.exchanged, loot.grant),
      github: await this.askGitHub(loot.githubToken),
    };
  }

  /** Requests that the CA has taken once, word for word. */
  async replay({ overheard }: Loot): Promise<readonly string[]> {
    return Promise.all(
      overheard.map(async ({ url, init }) => {
        const answer = await fetch(url, init);
        return answer.ok ? 'given' : (((await answer.json()) as { code: string }).code ?? '');
      }),
    );
  }

  async askGitHub(token: string): Promise<string> {
    const headers = { authorization: `Bearer ${token}` };
    const { status } = await fetch(`${this.at.stage.standin.enterpriseApiUrl}/user`, { headers });
    return status === 200 ? 'given' : String(status);
  }

  /** `given` when the gate says hello, the code by which it refuses, or `shut-out` when sshd does not let in. */
  async knock(held: Held): Promise<string> {
    const connection = await this.callerOf(NOTHING).connect(held);
    const isFirst = (event: GateEvent): event is GateEvent & { event: 'hello' | 'refused' } =>
      event.event === 'hello' || event.event === 'refused';
    const first = await connection.find(isFirst).catch(() => undefined);
    if (first?.event === 'hello') {
      await connection.end();
      return 'given';
    }
    await connection.ended;
    if (first !== undefined) return first.code;
    return /Permission denied/.test(connection.stderr) ? 'shut-out' : connection.stderr;
  }
}

/** The command that the tests ask for. */
export const MARK: Asked = { asked: invocation('mark.set', { name: 'a' }, { token: 'quiet' }) };
/** To connect with what is held the CA is not asked. */
const NOTHING: Hold = { accessToken: '', key: generateProofKey() };

function withoutSignal({ signal: _, ...init }: RequestInit): RequestInit {
  return init;
}

/** What a promise of the client became: `given`, or the code of the refusal. */
export async function answerTo(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'given';
  } catch (error) {
    if (error instanceof ClientError) return error.problem?.code ?? error.code;
    throw error;
  }
}
