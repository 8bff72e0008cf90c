/**
 * A CA for tests: an HTTP server that speaks the messages of the real one, checks proofs and signs real certificates, and
 * can be told to misbehave. It knows one person, decides by a table, and forgets everything when it closes.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { FIRST_PREVIOUS, formatRecord, hashRecord } from '@beacon/protocol/record';
import { generateKey } from '@beacon/ssh/key';
import { encodeKrl } from '@beacon/ssh/krl';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createHostCa, createUserCa } from '@beacon/ssh/sign-certificate';
import { createSigner } from '@beacon/ssh/signature';
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { headsOf, servicesOf, standingOf } from './small-ca-hosts.ts';
import { createIssuer } from './small-ca-issuer.ts';
import type { Knobs, SmallHost } from './small-ca-knobs.ts';
import { Refusal, refuse, send } from './small-ca-refusal.ts';
import { type AccessToken, createTokens } from './small-ca-tokens.ts';

export type { Knobs };

export interface SmallCa {
  readonly url: string;
  readonly knobs: Knobs;
  readonly userCa: ReturnType<typeof createUserCa>;
  readonly hostCa: ReturnType<typeof createHostCa>;
  /** Every request as `METHOD /path`. */
  readonly requests: string[];
  /** Bodies of POST requests to the API, parsed. */
  readonly bodies: Record<string, unknown>[];
  readonly refreshes: { count: number; reused: number };
  readonly records: string[];
  revoke(serial: bigint): void;
  /** A token whose session has not ended; a broker's are looked up as the CA's own. */
  findToken(token: string): AccessToken | undefined;
  endSessions(): void;
  close(): Promise<void>;
}

const PERSON = 'github:583231';
const NEXT_KEY = `SHA256:${'A'.repeat(43)}`;
const rotating = { kind: 'user', opened: true, revoked: false, held_until: null, held_by: [] };
const TOKEN_ID = `0${'1'.repeat(25)}`;

export async function startSmallCa(initial: Partial<Knobs> = {}): Promise<SmallCa> {
  const userCa = createUserCa(createSigner(generateKey('ssh-ed25519').privateKey));
  const hostCa = createHostCa(createSigner(generateKey('ssh-ed25519').privateKey));
  const signing = await generateKeyPair('EdDSA', { extractable: true });
  const knobs: Knobs = {
    hosts: [],
    extensions: { 'permit-pty': true },
    pendingPolls: 1,
    pollRefusal: undefined,
    intervalSeconds: 0,
    askNonce: true,
    accessTokenSeconds: 600,
    tamper: (_path, body) => body,
    intercept: () => false,
    certificate: (fields) => fields,
    denials: {},
    heads: {},
    services: {},
    committed: undefined,
    ...initial,
  };
  const requests: string[] = [];
  const bodies: Record<string, unknown>[] = [];
  const records: string[] = [];
  const revoked: bigint[] = [];
  const startedAt = new Date();
  let url = '';

  const record = (kind: string, facts: Record<string, string> = {}) => {
    const last = records.at(-1);
    const prev = last === undefined ? FIRST_PREVIOUS : hashRecord(last);
    const line = formatRecord(
      { chain: 'ca', seq: records.length + 1, time: new Date(), kind, person: PERSON, facts },
      prev,
    );
    records.push(line);
    return { seq: records.length, hash: hashRecord(line) };
  };
  const head = () => {
    const last = records.at(-1);
    return { seq: records.length, hash: last === undefined ? FIRST_PREVIOUS : hashRecord(last) };
  };

  const tokens = createTokens(knobs, () => url);
  const issuer = createIssuer({ knobs, person: PERSON, userCa, hostCa, record });

  async function api(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    body: Buffer,
    query: URLSearchParams,
  ) {
    const [scheme, presented = ''] = (request.headers.authorization ?? '').split(' ');
    const known = tokens.find(presented);
    const { payload, thumbprint } = await tokens.proofOf(request, path);
    const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('base64url');
    if (
      scheme !== 'DPoP' ||
      known === undefined ||
      known.thumbprint !== thumbprint ||
      known.audience !== 'urn:beacon:ca' ||
      tokens.ended.has(known.session) ||
      known.expiresAt < Date.now()
    ) {
      response.setHeader('www-authenticate', 'DPoP error="invalid_token"');
      throw new Refusal(401, 'token-invalid', 'the session has ended: log in again');
    }
    if (payload['ath'] !== digest(presented)) throw new Refusal(401, 'proof-invalid');
    if (body.length > 0 && payload['body'] !== digest(body)) throw new Refusal(401, 'proof-body');
    const asked = body.length > 0 ? (JSON.parse(body.toString()) as Record<string, unknown>) : {};
    if (body.length > 0) bodies.push(asked);
    const key = `${request.method} ${path}`;
    const session = {
      id: known.session,
      person: PERSON,
      name: 'octocat',
      client: 'beacon-cli',
      started_at: startedAt.toISOString(),
      ends_at: new Date(startedAt.getTime() + 8 * 3_600_000).toISOString(),
      current: true,
    };
    const hostEntry = (host: SmallHost) => ({ ...host, state: 'enabled', labels: {}, pools: [] });
    switch (key) {
      case 'GET /v1/sessions/current':
        return {
          session,
          service: 'beacon-cli',
          memberships: {
            read_at: startedAt.toISOString(),
            organizations: ['1'],
            teams: ['2'],
            unknown: [{ id: '7', name: 'acme', why: 'single sign-on' }],
          },
        };
      case 'GET /v1/sessions':
        return { sessions: [session] };
      case `DELETE /v1/sessions/${known.session}`:
        tokens.ended.add(known.session);
        return { session: known.session, record: record('session-ended') };
      case 'GET /v1/hosts':
        return { hosts: knobs.hosts.map(hostEntry) };
      case 'POST /v1/hosts':
        return issuer.register(asked);
      case 'POST /v1/certificates':
        return issuer.issue(asked, body, String(payload['key_proof']));
      case 'POST /v1/decisions': {
        const denial = knobs.denials[String(asked['host'])];
        return {
          allowed: denial === undefined,
          reason:
            denial === undefined
              ? { code: 'allowed', text: 'a policy allows it' }
              : { code: denial.code, text: denial.detail },
          missing: denial?.missing ?? [],
          policies: denial === undefined ? ['deploy.cedar#0'] : [],
          policy_version: 'v1',
          limits: denial === undefined ? { max_lifetime_seconds: 900, extensions: ['permit-pty'] } : null,
          record: record('decision'),
        };
      }
      case 'POST /v1/revocations':
        if (asked['by'] === 'serial') revoked.push(BigInt(String(asked['value'])));
        return {
          revoked: ['1'],
          already: 0,
          sessions_ended: asked['by'] === 'person' ? 1 : 0,
          record: record('revocation'),
        };
      case 'POST /v1/host-tokens':
        return {
          id: TOKEN_ID,
          token: 'beacon-host-1.a.b',
          expires: startedAt.toISOString(),
          record: record('host-token'),
        };
      case 'GET /v1/rotation':
        return {
          root: 2,
          keys: [
            {
              ...rotating,
              fingerprint: fingerprint(userCa.publicKey),
              state: 'signs',
              in_use: true,
              since: 1,
              waiting: [],
            },
            {
              ...rotating,
              fingerprint: NEXT_KEY,
              state: 'next',
              in_use: false,
              since: 2,
              waiting: [{ id: 'build-03', root: 1, seen: startedAt.toISOString() }],
            },
            {
              ...rotating,
              kind: 'host',
              fingerprint: NEXT_KEY,
              state: 'former',
              in_use: false,
              since: 1,
              waiting: [],
              held_by: ['build-04'],
            },
          ],
          unseen: ['build-09'],
        };
      case 'POST /v1/rotation':
        return { record: record('rotation-activated') };
      case 'GET /v1/host-tokens':
        return {
          tokens: [
            {
              id: TOKEN_ID,
              kind: 'pool',
              hosts: 'build-[0-9]+',
              person: PERSON,
              expires: startedAt.toISOString(),
              uses_left: 3,
            },
          ],
        };
      case `DELETE /v1/host-tokens/${TOKEN_ID}`:
        return { record: record('host-token-revoked') };
      case 'POST /v1/trust/root':
        return { version: 7, record: record('trust-root-published') };
      case 'GET /v1/persons':
        return {
          disabled: [{ person: 'github:1', since: startedAt.toISOString(), by: PERSON, reason: 'left' }],
        };
      case 'GET /v1/host-reports':
        return {
          hosts: knobs.hosts.map((host) => standingOf(host, knobs.heads[host.id], startedAt)),
          services: servicesOf(knobs.services, startedAt),
        };
      case 'GET /v1/records': {
        const after = Number(query.get('after') ?? 0);
        const limit = Number(query.get('limit') ?? 100);
        return { records: records.slice(after, after + limit), head: head() };
      }
      default:
    }
    const [, resource, id, change] =
      /^[A-Z]+ [/]v1[/](hosts|persons)[/]([^/]+)(?:[/](disable|enable))?$/.exec(key) ?? [];
    if (resource === 'persons' && change !== undefined) {
      return { person: id, state: `${change}d`, sessions_ended: 1, record: record(`person-${change}d`) };
    }
    const host = knobs.hosts.find((one) => one.id === id);
    if (resource === 'hosts' && host !== undefined) {
      if (change === undefined) return hostEntry(host);
      return { host: { ...hostEntry(host), state: `${change}d` }, record: record(`host-${change}d`) };
    }
    throw new Refusal(404, 'host-unknown', `there is no host ${id ?? path}: see beacon ca host list`);
  }

  async function route(request: IncomingMessage, response: ServerResponse, body: Buffer): Promise<void> {
    const { pathname: path, searchParams } = new URL(request.url ?? '/', url);
    requests.push(`${request.method} ${path}`);
    if (knobs.intercept(request, response)) return;
    switch (path) {
      case '/.well-known/oauth-authorization-server':
        return send(
          response,
          200,
          knobs.tamper(path, {
            issuer: url,
            token_endpoint: `${url}/oauth/token`,
            authorization_endpoint: `${url}/oauth/authorize`,
            device_authorization_endpoint: `${url}/oauth/device`,
            jwks_uri: `${url}/.well-known/jwks.json`,
            protected_resources: ['urn:beacon:ca', 'urn:beacon:broker:portal'],
          }),
        );
      case '/oauth/device':
        tokens.beginLogin();
        return send(
          response,
          200,
          knobs.tamper(path, {
            device_code: 'device-code',
            user_code: 'ABCD-EFGH',
            verification_uri: `${url}/device`,
            expires_in: 600,
            interval: knobs.intervalSeconds,
          }),
        );
      case '/oauth/token':
        return tokens.token(request, response, body);
      case '/.well-known/jwks.json':
        return send(response, 200, {
          keys: [{ ...(await exportJWK(signing.publicKey)), kid: 'one', alg: 'EdDSA' }],
        });
      case '/v1/ca-keys': {
        const keys = (key: typeof userCa.publicKey) => [
          { public_key: formatPublicKeyLine(key), fingerprint: fingerprint(key), state: 'active' },
        ];
        return send(
          response,
          200,
          knobs.tamper(path, { user: keys(userCa.publicKey), host: keys(hostCa.publicKey) }),
        );
      }
      case '/v1/checkpoint': {
        const payload = JSON.stringify({
          v: 1,
          chain: 'ca',
          ...head(),
          time: new Date().toISOString(),
          heads: headsOf(knobs.committed ?? knobs.heads, knobs.services),
        });
        const checkpoint = await new CompactSign(Buffer.from(payload))
          .setProtectedHeader({ alg: 'EdDSA', typ: 'beacon-checkpoint+jwt', kid: 'one' })
          .sign(signing.privateKey);
        return send(response, 200, knobs.tamper(path, { checkpoint }));
      }
      case '/v1/krl': {
        const authorities = [{ ca: userCa.publicKey, serials: revoked, keyIds: [] }];
        const list = encodeKrl({
          version: 1n,
          generated: new Date(),
          comment: '',
          authorities: authorities as never,
        });
        response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(list);
        return;
      }
      default:
        return send(
          response,
          200,
          knobs.tamper(path, await api(request, response, path, body, searchParams)),
        );
    }
  }

  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      route(request, response, Buffer.concat(parts)).catch((error: unknown) => refuse(response, error));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    knobs,
    userCa,
    hostCa,
    requests,
    bodies,
    refreshes: tokens.refreshes,
    records,
    revoke: (one) => void revoked.push(one),
    findToken: (token) => {
      const found = tokens.find(token);
      return found === undefined || tokens.ended.has(found.session) ? undefined : found;
    },
    endSessions: tokens.endAll,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
