/**
 * A CA for tests: an HTTP server that speaks the messages of the real one, checks proofs and signs real certificates, and
 * can be told to misbehave. It knows one person, decides by a table, and forgets everything when it closes.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HostRequest } from '@beacon/protocol/http/hosts';
import { createId } from '@beacon/protocol/id';
import { FIRST_PREVIOUS, formatRecord, hashRecord } from '@beacon/protocol/record';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import { generateKey } from '@beacon/ssh/key';
import { encodeKrl } from '@beacon/ssh/krl';
import type { Extensions } from '@beacon/ssh/options';
import { fingerprint, formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import {
  createHostCa,
  createUserCa,
  signHostCertificate,
  signUserCertificate,
} from '@beacon/ssh/sign-certificate';
import { createSigner } from '@beacon/ssh/signature';
import { verifyMessage } from '@beacon/ssh/sshsig';
import {
  CompactSign,
  calculateJwkThumbprint,
  EmbeddedJWK,
  exportJWK,
  generateKeyPair,
  jwtVerify,
} from 'jose';

export interface SmallHost {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly logins: readonly string[];
}

/** Everything here may be changed while it runs. */
export interface Knobs {
  hosts: SmallHost[];
  extensions: Extensions;
  /** How many polls of the device grant are answered with "wait". */
  pendingPolls: number;
  pollRefusal: string | undefined;
  intervalSeconds: number;
  askNonce: boolean;
  accessTokenSeconds: number;
  /** Changes an answer before it is sent. */
  tamper: (path: string, body: Record<string, unknown>) => unknown;
  /** Answers instead of the real answer. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** What is signed instead of what was asked for. */
  certificate: (
    fields: Parameters<typeof signUserCertificate>[0],
  ) => Parameters<typeof signUserCertificate>[0];
  /** Denied with this problem, by host id. */
  denials: Record<string, { code: string; detail: string; missing: unknown[] }>;
}

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
  endSessions(): void;
  close(): Promise<void>;
}

const PERSON = 'github:583231';

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
    ...initial,
  };
  const requests: string[] = [];
  const bodies: Record<string, unknown>[] = [];
  const records: string[] = [];
  const refreshes = { count: 0, reused: 0 };
  const accessTokens = new Map<string, { thumbprint: string; expiresAt: number; session: string }>();
  const refreshTokens = new Map<string, { thumbprint: string; used: boolean; session: string }>();
  const ended = new Set<string>();
  const proofs = new Set<string>();
  const revoked: bigint[] = [];
  const startedAt = new Date();
  let polls = 0;
  let serial = 0n;
  const nonce = randomUUID();
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

  const issueTokens = (thumbprint: string, session: string) => {
    const accessToken = randomBytes(24).toString('base64url');
    const refreshToken = randomBytes(24).toString('base64url');
    accessTokens.set(accessToken, {
      thumbprint,
      session,
      expiresAt: Date.now() + knobs.accessTokenSeconds * 1000,
    });
    refreshTokens.set(refreshToken, { thumbprint, session, used: false });
    return {
      token_type: 'DPoP',
      access_token: accessToken,
      expires_in: knobs.accessTokenSeconds,
      refresh_token: refreshToken,
      scope: 'beacon',
    };
  };

  async function proofOf(request: IncomingMessage, path: string) {
    const header = request.headers['dpop'];
    if (typeof header !== 'string') throw new Refusal(401, 'proof-missing');
    const { payload, protectedHeader } = await jwtVerify(header, EmbeddedJWK, {
      typ: 'dpop+jwt',
      algorithms: ['EdDSA'],
    });
    const jti = String(payload.jti);
    if (payload['htm'] !== request.method || payload['htu'] !== `${url}${path}` || proofs.has(jti)) {
      throw new Refusal(401, 'proof-invalid');
    }
    proofs.add(jti);
    const thumbprint = await calculateJwkThumbprint(protectedHeader.jwk ?? {});
    return { payload, thumbprint };
  }

  async function token(request: IncomingMessage, response: ServerResponse, body: Buffer) {
    const form = new URLSearchParams(body.toString());
    const { payload, thumbprint } = await proofOf(request, '/oauth/token');
    const fail = (error: string) => send(response, 400, { error, error_description: `because of ${error}` });
    if (knobs.askNonce && payload['nonce'] !== nonce) {
      response.setHeader('dpop-nonce', nonce);
      return fail('use_dpop_nonce');
    }
    if (form.get('grant_type') === 'refresh_token') {
      const known = refreshTokens.get(form.get('refresh_token') ?? '');
      refreshes.count += 1;
      if (known?.used === true) refreshes.reused += 1;
      if (known === undefined || ended.has(known.session) || known.used || known.thumbprint !== thumbprint)
        return fail('invalid_grant');
      known.used = true;
      return send(response, 200, issueTokens(thumbprint, known.session));
    }
    if (form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:device_code') {
      polls += 1;
      if (knobs.pollRefusal !== undefined) return fail(knobs.pollRefusal);
      if (polls <= knobs.pendingPolls) return fail('authorization_pending');
      return send(response, 200, knobs.tamper('/oauth/token', issueTokens(thumbprint, createId(Date.now()))));
    }
    if (form.get('grant_type') === 'authorization_code') {
      if (form.get('client_assertion') === null || form.get('code_verifier') === null)
        return fail('invalid_client');
      return form.get('code') === 'good'
        ? send(response, 200, issueTokens(thumbprint, createId(Date.now())))
        : fail('invalid_grant');
    }
    return fail('unsupported_grant_type');
  }

  async function api(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    body: Buffer,
    query: URLSearchParams,
  ) {
    const [scheme, presented = ''] = (request.headers.authorization ?? '').split(' ');
    const known = accessTokens.get(presented);
    const { payload, thumbprint } = await proofOf(request, path);
    const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('base64url');
    if (
      scheme !== 'DPoP' ||
      known === undefined ||
      known.thumbprint !== thumbprint ||
      ended.has(known.session) ||
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
        ended.add(known.session);
        return { session: known.session, record: record('session-ended') };
      case 'GET /v1/hosts':
        return { hosts: knobs.hosts.map(hostEntry) };
      case 'POST /v1/hosts':
        return registered(asked);
      case 'POST /v1/certificates':
        return issue(asked, body, String(payload['key_proof']));
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
      case 'GET /v1/persons':
        return {
          disabled: [{ person: 'github:1', since: startedAt.toISOString(), by: PERSON, reason: 'left' }],
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

  async function registered(asked: Record<string, unknown>) {
    const { id, address, port, logins, labels, pools, host_key: line } = asked as unknown as HostRequest;
    const { key } = parsePublicKeyLine(line);
    serial += 1n;
    const now = BigInt(Math.floor(Date.now() / 1000));
    const fields = {
      publicKey: key,
      serial,
      keyId: `beacon/host/${id}`,
      principals: [id],
      validAfter: now - 60n,
      validBefore: now + 2_592_000n,
    };
    const blob = await signHostCertificate(fields, hostCa, randomBytes(32));
    return {
      host: { id, state: 'enabled', address, port, logins, labels, pools, host_key: fingerprint(key) },
      certificate: formatCertificateLine(blob),
      serial: serial.toString(),
      valid_before: new Date(Number(fields.validBefore) * 1000).toISOString(),
      record: record('host-registered'),
    };
  }

  async function issue(asked: Record<string, unknown>, body: Buffer, keyProof: string) {
    const host = knobs.hosts.find(({ id }) => id === asked['host']);
    if (host === undefined)
      throw new Refusal(404, 'host-unknown', `there is no host ${asked['host']}: see beacon ca host list`);
    const denial = knobs.denials[host.id];
    if (denial !== undefined) throw new Refusal(403, denial.code, denial.detail, denial.missing);
    const { key } = parsePublicKeyLine(String(asked['public_key']));
    const signer = verifyMessage({
      signature: Buffer.from(keyProof, 'base64url'),
      namespace: 'certificate@beacon',
      message: body,
    });
    if (!signer.blob.equals(key.blob)) throw new Refusal(403, 'key-proof-invalid');
    const grant = createId(Date.now());
    const now = BigInt(Math.floor(Date.now() / 1000));
    serial += 1n;
    const fields = knobs.certificate({
      publicKey: key,
      serial,
      keyId: `beacon/${grant}/${PERSON}`,
      principals: [`${asked['login']}@${host.id}`],
      validAfter: now - 60n,
      validBefore: now + BigInt(Number(asked['lifetime_seconds'])),
      extensions: knobs.extensions,
    });
    const blob = await signUserCertificate(fields, userCa, randomBytes(32));
    const reference = record('certificate', { serial: serial.toString() });
    return {
      certificate: formatCertificateLine(blob),
      serial: fields.serial.toString(),
      grant,
      key_id: fields.keyId,
      principal: fields.principals[0],
      valid_after: new Date(Number(fields.validAfter) * 1000).toISOString(),
      valid_before: new Date(Number(fields.validBefore) * 1000).toISOString(),
      policies: ['deploy.cedar#0'],
      host: {
        id: host.id,
        address: host.address,
        port: host.port,
        certificate_authorities: [formatPublicKeyLine(hostCa.publicKey)],
      },
      record: reference,
    };
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
        polls = 0;
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
        return token(request, response, body);
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
          heads: {},
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
    refreshes,
    records,
    revoke: (one) => void revoked.push(one),
    endSessions: () => {
      for (const { session } of accessTokens.values()) ended.add(session);
    },
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly missing: unknown[] | undefined;

  constructor(status: number, code: string, detail = `refused: ${code}`, missing?: unknown[]) {
    super(detail);
    this.status = status;
    this.code = code;
    this.missing = missing;
  }
}

const KIND: Record<number, string> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'denied',
  404: 'not-found',
};

function refuse(response: ServerResponse, error: unknown): void {
  const refusal = error instanceof Refusal ? error : new Refusal(500, 'internal', String(error));
  response.writeHead(refusal.status, { 'content-type': 'application/problem+json' });
  response.end(
    JSON.stringify({
      type: `urn:beacon:problem:${KIND[refusal.status] ?? 'internal'}`,
      title: 'Refused',
      status: refusal.status,
      code: refusal.code,
      detail: refusal.message,
      id: 'request-1',
      ...(refusal.missing === undefined ? {} : { denial: { missing: refusal.missing } }),
    }),
  );
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
