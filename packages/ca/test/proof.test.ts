import { type ProofContext, type ProofFault, verifyProof } from '@beacon/server';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { makeKeys, makeProof, sha256 } from './authorization-lab.ts';

const now = new Date('2026-11-22T12:00:00.500Z');
const seconds = Math.floor(now.getTime() / 1000);
const url = 'https://ca.example/v1/certificates';
const accessToken = 'A'.repeat(43);
const rawBody = Buffer.from('{"v":1}');
const keys = await makeKeys();
const context: ProofContext = { method: 'POST', url, accessToken, rawBody, now };
const right = { iat: seconds, ath: sha256(accessToken), body: sha256(rawBody) };

function proof(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
  return makeProof(keys, 'POST', url, { ...right, ...claims }, header);
}

class Refused extends Error {}
const refuse = (fault: ProofFault) => new Refused(fault);

async function codeOf(made: string | undefined, change: Partial<ProofContext> = {}): Promise<string> {
  try {
    await verifyProof(made, { ...context, ...change }, refuse);
    return 'taken';
  } catch (error) {
    if (error instanceof Refused) return error.message;
    throw error;
  }
}

test.each(['EdDSA', 'ES256'] as const)(
  'takes a proof by %s and tells its key, its id and what it said',
  async (alg) => {
    const own = await makeKeys(alg);
    const jti = 'j'.repeat(20);
    const made = await makeProof(own, 'POST', url, { ...right, jti, key_proof: 'c2ln' });
    expect(await verifyProof(made, context, refuse)).toEqual({
      thumbprint: own.thumbprint,
      jti,
      expiresAt: new Date((seconds + 60) * 1000),
      body: sha256(rawBody),
      keyProof: 'c2ln',
    });
  },
);

test('without a body the proof names none', async () => {
  const bare = { rawBody: Buffer.alloc(0) };
  const held = await verifyProof(await proof({ body: undefined }), { ...context, ...bare }, refuse);
  expect(held).not.toHaveProperty('body');
  expect(await codeOf(await proof(), bare)).toBe('proof-body');
});

test.each<[string, Record<string, unknown>, string]>([
  ['another method', { htm: 'GET' }, 'proof-invalid'],
  ['a method in lower case', { htm: 'post' }, 'proof-invalid'],
  ['no method', { htm: undefined }, 'proof-invalid'],
  ['another path', { htu: 'https://ca.example/v1/decisions' }, 'proof-invalid'],
  ['another host', { htu: 'https://evil.example/v1/certificates' }, 'proof-invalid'],
  ['another scheme', { htu: 'http://ca.example/v1/certificates' }, 'proof-invalid'],
  ['no address', { htu: undefined }, 'proof-invalid'],
  ['what is no address', { htu: '/v1/certificates' }, 'proof-invalid'],
  ['a list of addresses', { htu: [url] }, 'proof-invalid'],
  ['another token', { ath: sha256('B'.repeat(43)) }, 'proof-invalid'],
  ['no token', { ath: undefined }, 'proof-invalid'],
  ['the token itself', { ath: accessToken }, 'proof-invalid'],
  ['a time too long ago', { iat: seconds - 61 }, 'proof-invalid'],
  ['a time to come', { iat: seconds + 62 }, 'proof-invalid'],
  ['no time', { iat: undefined }, 'proof-invalid'],
  ['a time as text', { iat: String(seconds) }, 'proof-invalid'],
  ['half a second', { iat: seconds + 0.5 }, 'proof-invalid'],
  ['an end that is over', { exp: seconds - 1 }, 'proof-invalid'],
  ['an end now', { exp: seconds }, 'proof-invalid'],
  ['a beginning to come', { nbf: seconds + 30 }, 'proof-invalid'],
  ['no id', { jti: undefined }, 'proof-invalid'],
  ['a short id', { jti: 'j'.repeat(15) }, 'proof-invalid'],
  ['a long id', { jti: 'j'.repeat(129) }, 'proof-invalid'],
  ['an id with a line break', { jti: `${'j'.repeat(20)}\n` }, 'proof-invalid'],
  ['another body', { body: sha256('{"v":2}') }, 'proof-body'],
  ['no body', { body: undefined }, 'proof-body'],
  ['a key proof that is no text', { key_proof: { a: 1 } }, 'proof-invalid'],
])('T2: refuses a proof that names %s', async (_title, claims, code) => {
  expect(await codeOf(await proof(claims))).toBe(code);
});

test('the window is 60 seconds either way, its bounds included', async () => {
  const whole = new Date(seconds * 1000);
  expect(await codeOf(await proof({ iat: seconds - 60 }), { now: whole })).toBe('taken');
  expect(await codeOf(await proof({ iat: seconds + 60 }), { now: whole })).toBe('taken');
  expect(await codeOf(await proof({ iat: seconds - 61 }), { now: whole })).toBe('proof-invalid');
  expect(await codeOf(await proof({ iat: seconds + 61 }), { now: whole })).toBe('proof-invalid');
});

test('query and fragment of the address do not count (RFC 9449 section 4.3)', async () => {
  expect(await codeOf(await proof({ htu: `${url}?a=1#b` }))).toBe('taken');
  expect(await codeOf(await proof({ htu: 'HTTPS://CA.example:443/v1/certificates' }))).toBe('taken');
});

test.each<[string, Record<string, unknown>]>([
  ['another type', { typ: 'JWT' }],
  ['no type', { typ: undefined }],
  ['a key id', { kid: 'tokens-1' }],
  ['a key set by address', { jku: 'https://evil.example/jwks' }],
  ['a certificate by address', { x5u: 'https://evil.example/x5u' }],
  ['an unknown member', { x: 1 }],
  ['no key', { jwk: undefined }],
  ["another's key", { jwk: (await makeKeys()).jwk }],
  ['a key of another kind', { jwk: { kty: 'oct', k: 'AAAA' } }],
  ['a key with a member that no public key has', { jwk: { ...keys.jwk, dp: 'AAAA' } }],
  ['a key with its private part', { jwk: await exportJWK(keys.privateKey) }],
])('T1: refuses a proof whose header has %s', async (_title, header) => {
  expect(await codeOf(await proof({}, header))).toBe('proof-invalid');
});

test('T1: refuses no algorithm, a shared secret, and algorithms that are not ours', async () => {
  const payload = Buffer.from(
    JSON.stringify({ htm: 'POST', htu: url, jti: 'j'.repeat(20), ...right }),
  ).toString('base64url');
  const none = Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'none', jwk: keys.jwk })).toString(
    'base64url',
  );
  expect(await codeOf(`${none}.${payload}.`)).toBe('proof-invalid');
  const claims = { htm: 'POST', htu: url, jti: 'j'.repeat(20), ...right };
  const shared = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt', jwk: keys.jwk } as never)
    .sign(new TextEncoder().encode(String(keys.jwk.x)));
  expect(await codeOf(shared)).toBe('proof-invalid');
  for (const alg of ['RS256', 'PS256', 'ES384']) {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    const made = await new SignJWT(claims)
      .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk: await exportJWK(publicKey) } as never)
      .sign(privateKey);
    expect(await codeOf(made)).toBe('proof-invalid');
  }
});

test('refuses none, an empty one, two in one header, and one that is too long', async () => {
  const made = await proof();
  expect(await codeOf(undefined)).toBe('proof-missing');
  expect(await codeOf('')).toBe('proof-missing');
  expect(await codeOf(`${made}, ${made}`)).toBe('proof-invalid');
  expect(await codeOf(`${made}${'A'.repeat(13_000)}`)).toBe('proof-invalid');
});

test('refuses every proof with a changed character and every truncation of one', async () => {
  const made = await proof();
  for (let at = 0; at < made.length; at++) {
    const other = made[at] === 'A' ? 'B' : 'A';
    const changed = `${made.slice(0, at)}${other}${made.slice(at + 1)}`;
    // The last character of base64url has bits that mean nothing; jose refuses those that are set, or reads the same bytes.
    if (!sameBytes(made, changed)) expect(await codeOf(changed)).toBe('proof-invalid');
    expect(await codeOf(made.slice(0, at))).toBe(at === 0 ? 'proof-missing' : 'proof-invalid');
  }
});

test('refuses whatever text comes, always with one of its own codes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string({ maxLength: 400 }),
        fc.base64String({ maxLength: 200 }),
        fc.array(fc.string(), { maxLength: 5 }).map((parts) => parts.join('.')),
      ),
      async (text) => {
        expect(['proof-invalid', 'proof-missing']).toContain(await codeOf(text));
      },
    ),
    { numRuns: 300 },
  );
});

function sameBytes(one: string, two: string): boolean {
  const bytes = (text: string) =>
    text
      .split('.')
      .map((part) => Buffer.from(part, 'base64url').toString('hex'))
      .join('.');
  return bytes(one) === bytes(two);
}
