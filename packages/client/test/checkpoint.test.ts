import { describe, expect, it } from '@jest/globals';
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { verifyCheckpoint } from '../src/index.ts';

const payload = {
  v: 1,
  chain: 'ca',
  seq: 3,
  hash: 'a'.repeat(64),
  time: '2026-11-22T10:00:00.000Z',
  heads: {},
};
const pair = await generateKeyPair('EdDSA', { extractable: true });
const jwks = Buffer.from(
  JSON.stringify({ keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'EdDSA' }] }),
);

function sign(content: unknown, header: object = {}, key = pair.privateKey): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(content)))
    .setProtectedHeader({ alg: 'EdDSA', typ: 'beacon-checkpoint+jwt', kid: 'one', ...header })
    .sign(key);
}

const other = await generateKeyPair('EdDSA');
const unsigned = [{ alg: 'none', typ: 'beacon-checkpoint+jwt' }, payload]
  .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
  .join('.');
const whole = await sign(payload);

const refused: [string, string][] = [
  ['signed by another key', await sign(payload, {}, other.privateKey)],
  ['that is an access token of the same key', await sign(payload, { typ: 'at+jwt' })],
  ['without a type', await sign(payload, { typ: undefined })],
  ['with an unknown key in it', await sign({ ...payload, more: 1 })],
  ['of another version', await sign({ ...payload, v: 2 })],
  ['that nobody signed', `${unsigned}.`],
  ['with another payload', whole.replace(/\.[^.]+\./, `.${Buffer.from('{}').toString('base64url')}.`)],
  ['that is no JWS', 'x'],
];

describe('a checkpoint', () => {
  it('is read when one of the CA signed it', async () => {
    expect(await verifyCheckpoint(await sign(payload), jwks)).toMatchObject({ seq: 3, hash: payload.hash });
  });

  it.each(refused)('is refused %s', async (_name, jws) => {
    await expect(verifyCheckpoint(jws, jwks)).rejects.toMatchObject({ code: 'answer-untrusted' });
  });
});
