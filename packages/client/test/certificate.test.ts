import { randomBytes } from 'node:crypto';
import { generateKey } from '@beacon/ssh/key';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { createSigner } from '@beacon/ssh/signature';
import { verifyMessage } from '@beacon/ssh/sshsig';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { CaApi, StoredSession } from '../src/index.ts';
import {
  createCaApi,
  discoverCa,
  exportProofKey,
  finishDeviceLogin,
  generateProofKey,
  obtainCertificate,
  openSession,
  startDeviceLogin,
  storedSession,
} from '../src/index.ts';
import { type Knobs, type SmallCa, startSmallCa } from './small-ca.ts';

/** A session in memory; the CA is a real server on loopback. */
export async function loggedIn(ca: SmallCa): Promise<CaApi> {
  const metadata = await discoverCa(ca.url);
  const proofKey = generateProofKey();
  const client = { metadata, clientId: 'beacon-cli', proofKey, resources: metadata.protectedResources };
  const tokens = await finishDeviceLogin(client, await startDeviceLogin(client));
  const { issuer, tokenEndpoint } = metadata;
  let stored: StoredSession = storedSession(
    { issuer, clientId: 'beacon-cli', tokenEndpoint, key: exportProofKey(proofKey) },
    tokens,
  );
  return createCaApi(
    await openSession({
      read: async () => stored,
      update: async (change) => {
        stored = await change(stored);
        return stored;
      },
    }),
  );
}

describe('obtaining a certificate', () => {
  let ca: SmallCa;
  let api: CaApi;
  let usual: Knobs;
  const wish = { host: 'build-01', login: 'deploy', lifetimeSeconds: 300 };

  beforeAll(async () => {
    ca = await startSmallCa({
      hosts: [
        { id: 'build-01', address: '127.0.0.1', port: 22, logins: ['deploy'] },
        { id: 'build-02', address: '127.0.0.1', port: 22, logins: ['deploy'] },
      ],
    });
    usual = { ...ca.knobs };
    api = await loggedIn(ca);
  });
  beforeEach(() => {
    Object.assign(ca.knobs, usual);
  });
  afterAll(() => ca.close());

  it('verifies the answer and hands on what is needed to connect', async () => {
    const obtained = await obtainCertificate(api, wish);
    expect(obtained.certificate.principals).toEqual(['deploy@build-01']);
    expect(obtained.permitPty).toBe(true);
    expect(obtained.host).toMatchObject({ id: 'build-01', address: '127.0.0.1', port: 22 });
    expect(obtained.host.authorities.map((key) => formatPublicKeyLine(key))).toEqual([
      formatPublicKeyLine(ca.hostCa.publicKey),
    ]);
  });

  it('proves possession of a key that is given', async () => {
    const signer = createSigner(generateKey('ecdsa-sha2-nistp256').privateKey);
    const obtained = await obtainCertificate(api, wish, { signer });
    expect(obtained.certificate.publicKey.blob.equals(signer.publicKey.blob)).toBe(true);
    expect(ca.bodies.at(-1)).toEqual({
      v: 1,
      host: 'build-01',
      login: 'deploy',
      public_key: formatPublicKeyLine(signer.publicKey),
      lifetime_seconds: 300,
    });
  });

  it('carries a denial with what is missing', async () => {
    ca.knobs.denials = {
      'build-01': { code: 'team-missing', detail: 'not in the team', missing: [{ kind: 'team', id: '7' }] },
    };
    await expect(obtainCertificate(api, wish)).rejects.toMatchObject({
      code: 'refused',
      kind: 'denied',
      problem: { code: 'team-missing', denial: { missing: [{ kind: 'team', id: '7' }] } },
    });
  });

  const other = () => createSigner(generateKey('ssh-ed25519').privateKey).publicKey;
  const hostile: [string, () => void][] = [
    ['for another key', () => (ca.knobs.certificate = (fields) => ({ ...fields, publicKey: other() }))],
    [
      'for another login',
      () => (ca.knobs.certificate = (fields) => ({ ...fields, principals: ['root@build-01'] })),
    ],
    [
      'for another host',
      () => (ca.knobs.certificate = (fields) => ({ ...fields, principals: ['deploy@build-02'] })),
    ],
    [
      'that expired',
      () => (ca.knobs.certificate = (fields) => ({ ...fields, validBefore: fields.validAfter + 30n })),
    ],
    [
      'that lives longer than was asked for',
      () => (ca.knobs.certificate = (fields) => ({ ...fields, validBefore: fields.validAfter + 3600n })),
    ],
    [
      'that forces a command',
      () =>
        (ca.knobs.certificate = (fields) => ({ ...fields, criticalOptions: { 'force-command': '/bin/sh' } })),
    ],
    [
      'that carries a grant for a run',
      () => (ca.knobs.certificate = (fields) => ({ ...fields, extensions: { 'grant@beacon': '{}' } })),
    ],
    [
      'whose key id names no grant',
      () => (ca.knobs.certificate = (fields) => ({ ...fields, keyId: 'beacon/x/y' })),
    ],
    [
      'with another serial than the answer',
      () =>
        (ca.knobs.tamper = (path, body) => (path === '/v1/certificates' ? { ...body, serial: '99' } : body)),
    ],
    [
      'of a CA key that is revoked',
      () =>
        (ca.knobs.tamper = (path, body) =>
          path === '/v1/ca-keys'
            ? { ...body, user: (body['user'] as object[]).map((key) => ({ ...key, state: 'revoked' })) }
            : body),
    ],
    [
      'with a host CA key that the CA does not publish',
      () =>
        (ca.knobs.tamper = (path, body) =>
          path === '/v1/certificates'
            ? {
                ...body,
                host: {
                  ...(body['host'] as object),
                  certificate_authorities: [formatPublicKeyLine(other())],
                },
              }
            : body),
    ],
    [
      'with one changed byte',
      () =>
        (ca.knobs.tamper = (path, body) => {
          if (path !== '/v1/certificates') return body;
          const [type, base64 = ''] = String(body['certificate']).split(' ');
          const blob = Buffer.from(base64, 'base64');
          blob[60] = (blob[60] ?? 0) ^ 1;
          return { ...body, certificate: `${type} ${blob.toString('base64')}` };
        }),
    ],
  ];
  it.each(hostile)('I12: refuses a certificate %s', async (_name, arrange) => {
    arrange();
    await expect(obtainCertificate(api, wish)).rejects.toMatchObject({ code: 'certificate-untrusted' });
  });

  it.each([
    ['-oProxyCommand=touch /tmp/x', 22],
    ['host name', 22],
    ['a;b', 22],
    ['127.0.0.1', 0],
    ['127.0.0.1', 65_536],
  ])('I12: refuses to dial %p port %p', async (address, port) => {
    ca.knobs.tamper = (path, body) =>
      path === '/v1/certificates' ? { ...body, host: { ...(body['host'] as object), address, port } } : body;
    await expect(obtainCertificate(api, wish)).rejects.toMatchObject({ code: 'answer-malformed' });
  });

  it('I12: refuses an answer longer than 1 MiB', async () => {
    ca.knobs.tamper = (path, body) =>
      path === '/v1/certificates' ? { ...body, padding: randomBytes(1024 * 1024).toString('hex') } : body;
    await expect(obtainCertificate(api, wish)).rejects.toMatchObject({ code: 'answer-too-long' });
  });

  it('makes the proof of possession over the exact body, for its own purpose', async () => {
    const signer = createSigner(generateKey('ssh-ed25519').privateKey);
    let proof: { body: Buffer; keyProof: string } | undefined;
    const spy = {
      ...api,
      requestCertificate: async (body: Buffer<ArrayBuffer>, keyProof: string) => {
        proof = { body, keyProof };
        return api.requestCertificate(body, keyProof);
      },
    };
    await obtainCertificate(spy, wish, { signer });
    const { body = Buffer.alloc(0), keyProof = '' } = proof ?? {};
    expect(keyProof).toMatch(/^[A-Za-z0-9_-]+$/);
    const signed = { signature: Buffer.from(keyProof, 'base64url'), message: body };
    expect(
      verifyMessage({ ...signed, namespace: 'certificate@beacon' }).blob.equals(signer.publicKey.blob),
    ).toBe(true);
    expect(() => verifyMessage({ ...signed, namespace: 'file' })).toThrow(
      expect.objectContaining({ code: 'sshsig-namespace' }),
    );
  });
});
