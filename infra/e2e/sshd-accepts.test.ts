/** What a real sshd makes of certificates: those of ours, and those that only a broken or hostile signer would make. */

import {
  createSigner,
  createUserCa,
  decodeCertificate,
  fingerprint,
  formatPrivateKey,
  type GeneratedKeyType,
  generateKey,
  type PublicKey,
  type Signer,
  signUserCertificate,
  type UserCertificateFields,
} from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  codeOf,
  inner,
  type RawFields,
  rawCertificate,
  rawOptions,
} from '../../packages/ssh/test/raw-certificate.ts';
import { LOGIN, type LoginAttempt, Sshd } from './sshd.ts';

const TYPES: readonly GeneratedKeyType[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
];
const nonce = Buffer.alloc(32, 9);
const keyId = 'beacon/0123456789abcdefghjkmnpqrs/github:583231';
const now = (): bigint => BigInt(Math.floor(Date.now() / 1000));

interface Person {
  readonly publicKey: PublicKey;
  readonly privateKey: string;
}

describe('a real sshd', () => {
  const cas = new Map<GeneratedKeyType, Signer>();
  const people = new Map<GeneratedKeyType, Person>();
  let sshd: Sshd;
  let otherSshd: Sshd;
  let serial = 0n;

  const ca = (type: GeneratedKeyType = 'ssh-ed25519'): Signer => cas.get(type) ?? fail(type);
  const person = (type: GeneratedKeyType = 'ssh-ed25519'): Person => people.get(type) ?? fail(type);

  beforeAll(async () => {
    for (const type of TYPES) {
      cas.set(type, createSigner(generateKey(type).privateKey));
      const { privateKey, publicKey } = generateKey(type);
      people.set(type, { publicKey, privateKey: await formatPrivateKey(privateKey) });
    }
    const hostCa = createSigner(generateKey('ssh-ed25519').privateKey);
    const trusted = [...cas.values()].map(({ publicKey }) => publicKey);
    sshd = await Sshd.start('build-01', hostCa, trusted);
    otherSshd = await Sshd.start('build-02', hostCa, trusted);
  });

  afterAll(async () => {
    await sshd?.stop();
    await otherSshd?.stop();
  });

  /** A certificate of ours for this sshd. */
  function issue(changes: Partial<UserCertificateFields> = {}, signer: Signer = ca()): Promise<Buffer> {
    serial += 1n;
    const fields: UserCertificateFields = {
      publicKey: person().publicKey,
      serial,
      keyId,
      principals: [`${LOGIN}@build-01`],
      validAfter: now() - 60n,
      validBefore: now() + 300n,
    };
    return signUserCertificate({ ...fields, ...changes }, createUserCa(signer), nonce);
  }

  /** A certificate as no encoder of ours makes it, truly signed by the trusted CA. */
  function forge(changes: Partial<RawFields>): Promise<Buffer> {
    return rawCertificate(
      {
        publicKey: person().publicKey,
        principals: [`${LOGIN}@build-01`],
        validAfter: now() - 60n,
        validBefore: now() + 300n,
        ...changes,
      },
      ca(),
    );
  }

  const login = (certificate: Buffer, command?: string): Promise<LoginAttempt> =>
    sshd.login({
      privateKey: person().privateKey,
      certificate,
      ...(command === undefined ? {} : { command }),
    });

  function expectAccepted(attempt: LoginAttempt): void {
    expect(attempt).toMatchObject({ status: 0, stdout: 'it-ran\n' });
  }

  function expectRefused(attempt: LoginAttempt, reason: RegExp): void {
    expect(attempt.stdout).toBe('');
    expect(attempt.status).toBe(255);
    expect(attempt.log).toMatch(reason);
  }

  const pairs = [
    ...TYPES.flatMap((subject) =>
      (['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ssh-rsa'] as const).map((type) => [subject, type] as const),
    ),
    ['ssh-ed25519', 'ecdsa-sha2-nistp384'] as const,
    ['ssh-ed25519', 'ecdsa-sha2-nistp521'] as const,
  ];

  test.each(pairs)('accepts a certificate for a key of type %s by a CA of type %s', async (subject, type) => {
    const { publicKey, privateKey } = person(subject);
    const certificate = await issue({ publicKey }, ca(type));
    const attempt = await sshd.login({ privateKey, certificate });
    expectAccepted(attempt);
    expect(attempt.log).toContain(`ID ${keyId} (serial ${serial})`);
    expect(attempt.log).toContain(fingerprint(ca(type).publicKey));
  });

  test('refuses on a second host the certificate that works on the first', async () => {
    const certificate = await issue();
    expectAccepted(await login(certificate));
    const attempt = await otherSshd.login({ privateKey: person().privateKey, certificate });
    expectRefused(attempt, /Certificate does not contain an authorized principal/);
  });

  test('R1: is left by ssh when its host certificate names another host', async () => {
    const certificate = await issue();
    const attempt = await sshd.login({
      privateKey: person().privateKey,
      certificate,
      expectedHost: 'build-02',
    });
    expect(attempt.status).toBe(255);
    expect(attempt.stderr).toMatch(/name is not a listed principal|Host key verification failed/);
  });

  test('refuses an edited certificate, beside the same one unedited', async () => {
    const certificate = await issue();
    expectAccepted(await login(certificate));
    const edited = Buffer.from(certificate);
    edited.write('github:583232', edited.indexOf('github:583231'));
    // ssh verifies the CA's signature when it loads the file and offers nothing; so would sshd, and so does our reader.
    const attempt = await login(edited);
    expect(attempt.status).toBe(255);
    expect(attempt.stdout).toBe('');
    expect(attempt.log).not.toContain('Accepted');
    expect(await codeOf(() => decodeCertificate(edited))).toBe('signature-wrong');
  });

  test('refuses a certificate by a CA that it does not trust', async () => {
    const stranger = createSigner(generateKey('ssh-ed25519').privateKey);
    expectRefused(await login(await issue({}, stranger)), /Failed publickey .* ED25519-CERT/);
  });

  test('C9: refuses from the end on and before the beginning', async () => {
    expectRefused(
      await login(await issue({ validAfter: now() - 60n, validBefore: now() })),
      /Certificate invalid: expired/,
    );
    expectRefused(
      await login(await issue({ validAfter: now() + 60n })),
      /Certificate invalid: not yet valid/,
    );
  });

  test('refuses a source-address elsewhere and accepts its own', async () => {
    expectAccepted(await login(await issue({ criticalOptions: { 'source-address': '127.0.0.0/8' } })));
    const attempt = await login(await issue({ criticalOptions: { 'source-address': '192.0.2.0/24' } }));
    expectRefused(attempt, /not from a permitted source address/);
  });

  test('carries a grant of 8 KiB as an extension that it does not know', async () => {
    expectAccepted(await login(await issue({ extensions: { 'grant@beacon': 'x'.repeat(8192) } })));
  });

  test('forces a command that is a critical option', async () => {
    const attempt = await login(
      await issue({ criticalOptions: { 'force-command': 'echo it-ran' } }),
      'echo something-else',
    );
    expectAccepted(attempt);
  });

  test('C1: ignores a force-command and a source-address among the extensions, so that our reader refuses them', async () => {
    for (const [name, text] of [
      ['force-command', 'echo forced'],
      ['source-address', '192.0.2.0/24'],
    ] as const) {
      const certificate = await forge({ extensions: rawOptions([name, inner(text)]) });
      expectAccepted(await login(certificate));
    }
  });

  test.each<[string, Partial<RawFields>, RegExp]>([
    [
      'permit-pty as a critical option',
      { criticalOptions: rawOptions(['permit-pty', '']) },
      /critical option "permit-pty" is not supported/,
    ],
    ['a flag extension with data', { extensions: rawOptions(['permit-pty', 'yes']) }, /"permit-pty" corrupt/],
    [
      'a force-command without its inner string',
      { criticalOptions: rawOptions(['force-command', 'id']) },
      /Unable to parse "force-command"/,
    ],
    [
      'two force-commands',
      { criticalOptions: rawOptions(['force-command', inner('id')], ['force-command', inner('id')]) },
      /multiple force-command options/,
    ],
  ])('C2: refuses %s', async (_, changes, reason) => {
    expectRefused(await login(await forge(changes)), reason);
  });

  test('C3: accepts doubled and unsorted extensions, which our reader refuses', async () => {
    const doubled = await forge({ extensions: rawOptions(['permit-pty', ''], ['permit-pty', '']) });
    const unsorted = await forge({ extensions: rawOptions(['permit-user-rc', ''], ['permit-pty', '']) });
    for (const certificate of [doubled, unsorted]) {
      expectAccepted(await login(certificate));
      expect(await codeOf(() => decodeCertificate(certificate))).toMatch(/^options?-/);
    }
  });

  test('C4: refuses a host certificate and one without principals for a login', async () => {
    // ssh itself leaves a host certificate out; sshd sees the bare key alone.
    const hostCertificate = await login(await forge({ kind: 2 }));
    expect(hostCertificate.log).not.toMatch(/Accepted|ED25519-CERT/);
    expectRefused(hostCertificate, /Failed publickey/);
    expectRefused(await login(await forge({ principals: [] })), /does not contain an authorized principal/);
  });

  test('C5: accepts a reserved field, an empty key id and a serial of 2^64-1, which our reader shows', async () => {
    for (const changes of [{ reserved: Buffer.alloc(3) }, { keyId: '' }, { serial: 2n ** 64n - 1n }]) {
      const certificate = await forge(changes);
      expectAccepted(await login(certificate));
      expect(await codeOf(() => decodeCertificate(certificate))).toBeUndefined();
    }
  });
});

function fail(type: string): never {
  throw new Error(`no key of type ${type}`);
}
