import { generateKey } from '@beacon/ssh';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { admit, admitReplacement } from '../src/admit.ts';
import { codeOf } from './refusal.ts';
import { type CertifyOptions, invocation, SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
});
afterEach(() => host.close());

const touch = { asked: invocation('touch') };
const admission = async (options: CertifyOptions = {}): Promise<string> => {
  const { blob } = await host.certify([touch], options);
  return codeOf(() => admit(blob, host.gate()));
};

describe('a certificate', () => {
  it('opens one session, whichever gate it is shown to', async () => {
    const { blob, grant } = await host.certify([touch]);
    expect(admit(blob, host.gate())).toMatchObject({ grant: { grant: grant.grant } });
    expect(codeOf(() => admit(blob, host.gate()))).toBe('certificate-used');
  });

  it('C9: is valid from its first second to the last before its end, exactly', async () => {
    const seconds = BigInt(host.clock / 1000);
    const between = (after: bigint, before: bigint) =>
      admission({ fields: { validAfter: seconds + after, validBefore: seconds + before } });
    expect(await between(0n, 60n)).toBe('accepted');
    expect(await between(1n, 60n)).toBe('certificate-not-yet-valid');
    expect(await between(-60n, 1n)).toBe('accepted');
    expect(await between(-60n, 0n)).toBe('certificate-expired');
  });

  it.each<[string, CertifyOptions, string]>([
    ['of another CA', { ca: generateKey('ssh-ed25519') }, 'certificate-unknown-authority'],
    ['for another host', { fields: { principals: ['beacon@build-02'] } }, 'certificate-wrong-principal'],
    ['for another login', { fields: { principals: ['root@build-01'] } }, 'certificate-wrong-principal'],
    ['whose grant names another host', { grant: { host: 'build-02' } }, 'grant-differs'],
    ['whose grant names another login', { grant: { login: 'root' } }, 'grant-differs'],
    [
      'whose grant names another person',
      { fields: { keyId: 'beacon/01hzzzzzzz0123456789abcdef/github:1' } },
      'grant-differs',
    ],
    ['without a grant', { fields: { extensions: { 'permit-pty': true } } }, 'grant-missing'],
    [
      'with a grant of another spelling',
      { fields: { extensions: { 'grant@beacon': '{"v":1 }' } } },
      'grant-malformed',
    ],
    ['with a grant that is no JSON', { fields: { extensions: { 'grant@beacon': '{' } } }, 'json-syntax'],
  ])('G6: %s is refused', async (_, options, code) => {
    expect(await admission(options)).toBe(code);
  });

  it('C4, C7: of which any byte was changed is refused, and its serial stays unused', async () => {
    const { blob } = await host.certify([touch]);
    const gate = host.gate();
    for (let at = 0; at < blob.length; at += 3) {
      const changed = Buffer.from(blob);
      changed[at] = (changed[at] ?? 0) ^ 0x20;
      expect(codeOf(() => admit(changed, gate))).not.toBe('accepted');
    }
    expect(codeOf(() => admit(Buffer.concat([blob, Buffer.alloc(1)]), gate))).toBe('wire-trailing');
    expect(codeOf(() => admit(blob, gate))).toBe('accepted');
  });

  it('that is revoked is refused', async () => {
    const { blob, serial } = await host.certify([touch]);
    await host.publish({ revoked: [serial] });
    expect(codeOf(() => admit(blob, host.gate()))).toBe('certificate-revoked');
  });

  it('L10: is refused while the clock is behind what was recorded', async () => {
    const gate = host.gate();
    gate.records.append({ kind: 'test' });
    host.clock -= 60_000;
    expect(await admission()).toBe('accepted');
    host.clock -= 1;
    await host.publish();
    expect(await admission()).toBe('clock-went-back');
  });
});

describe('a replacement', () => {
  it('is for the same key, login, session and person, and opens no second session', async () => {
    const { blob, key } = await host.certify([touch]);
    const gate = host.gate();
    const present = admit(blob, gate);
    const other = generateKey('ssh-ed25519');
    const session = Buffer.alloc(32, 1).toString('base64url');
    const replacing = async (options: CertifyOptions) => {
      const later = await host.certify([touch], options);
      return codeOf(() => admitReplacement(later.blob, present, gate));
    };
    expect(await replacing({ key: other })).toBe('replacement-refused');
    expect(await replacing({ key, grant: { session } })).toBe('replacement-refused');
    expect(await replacing({ key, grant: { person: 'github:1' } })).toBe('replacement-refused');
    expect(await replacing({ key, ca: other })).toBe('certificate-unknown-authority');
    expect(await replacing({ key, lifetimeSeconds: 0 })).toBe('certificate-expired');
    expect(await replacing({ key })).toBe('accepted');
    expect(codeOf(() => admitReplacement(blob, present, gate))).toBe('certificate-used');
  });
});
