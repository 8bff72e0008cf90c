import { parseCertificateLine } from '@beacon/ssh/certificate';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { signMessage } from '@beacon/ssh/sshsig';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type LoggedIn, newSigner, type Reply, refusal, SmallCa, sha256 } from './small-ca.ts';

const PRINCIPAL = /^[a-z_][a-z0-9_-]{0,31}@[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const HOST = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
const LOGIN = /^[a-z_][a-z0-9_-]{0,31}$/;

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
let mallory: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start({ trustedProxies: ['127.0.0.1'] });
  [ada, lin, mallory] = [await ca.login('ada'), await ca.login('lin'), await ca.login('mallory')];
});
afterAll(() => ca.close());
afterEach(() => {
  ca.clock.frozenAt = undefined;
});

/** What a refusal must leave behind: the answer, one record with its code, no certificate and no serial. */
async function expectRefused(ask: () => Promise<Reply>, status: number, code: string): Promise<Reply> {
  const [before, serials] = [await ca.records(), await ca.serials()];
  const reply = await ask();
  expect(refusal(reply)).toEqual({ status, code });
  expect(reply.headers.get('content-type')).toBe('application/problem+json');
  expect(await ca.serials()).toEqual(serials);
  const after = (await ca.records()).slice(before.length);
  expect(after.map(({ kind, facts }) => [kind, facts?.['code']])).toEqual([['refused', code]]);
  return reply;
}

/** What a malformed request must leave behind: the answer and one record, and nothing else in the store. */
async function expectMalformed(ask: () => Promise<Reply>, code = 'body-malformed'): Promise<void> {
  const [records, serials] = [(await ca.records()).length, await ca.serials()];
  expect(refusal(await ask())).toEqual({ status: 400, code });
  // The refusal's own, and nothing else.
  expect([(await ca.records()).length, await ca.serials()]).toEqual([records + 1, serials]);
  expect(await ca.lastRecord()).toMatchObject({ kind: 'refused', facts: { code } });
}

describe('what a request may say', () => {
  test.each<[string, Record<string, unknown>]>([
    ['principals', { principals: ['root@web-01'] }],
    ['extensions', { extensions: { 'permit-pty': '' } }],
    ['critical_options', { critical_options: { 'force-command': 'id' } }],
    ['force_command', { 'force-command': 'id' }],
    ['a digest of its own', { digest: sha256('x') }],
    ['a person', { person: 'github:101' }],
    ['a serial', { serial: '1' }],
    ['an empty host', { host: '' }],
    ['every host', { host: '*' }],
    ['no host', { host: undefined }],
    ['a null host', { host: null }],
    ['an empty login', { login: '' }],
    ['every login', { login: '*' }],
    ['no login', { login: undefined }],
    ['a null login', { login: null }],
    ['a list of logins', { login: ['deploy', 'root'] }],
    ['version 2', { v: 2 }],
    ['no version', { v: undefined }],
    ['no key', { public_key: undefined }],
    ['two keys', { public_key: 'ssh-ed25519 AAAA\nssh-ed25519 AAAA' }],
    ['no command at all', { commands: [] }],
  ])('A1: refuses %s as malformed and takes no serial', async (_what, wish) => {
    await expectMalformed(() => ca.sign(lin, wish));
  });

  test('A1: a doubled key, a lone surrogate and a body that is no object are refused', async () => {
    const raw = JSON.stringify({
      v: 1,
      host: 'web-01',
      login: 'deploy',
      lifetime_seconds: 60,
      public_key: 'x',
    });
    for (const bad of [
      raw.replace('"v":1', '"v":1,"v":1'),
      raw.replace('web-01', '\\ud800'),
      '[]',
      'null',
      '"x"',
      '{',
      `${raw}x`,
    ])
      await expectMalformed(() => ca.sign(lin, {}, { raw: bad }));
  });

  test('A2: whatever stands for host and login, no principal leaves its form', async () => {
    const hostile = fc.oneof(
      fc.constantFrom(
        ...[
          'a,b',
          'a\nb',
          'a\0b',
          'a b',
          '-a',
          'A',
          'é',
          'ä'.repeat(30),
          'x'.repeat(300),
          'a@b',
          '.',
          '..',
          '*',
          'a.',
        ],
        ...[
          'web-01 ',
          ' web-01',
          'web-01\n',
          'WEB-01',
          'web-01,db-01',
          'deploy@web-01',
          'ｗeb-01',
          'web-01\u200b',
          '%k',
        ],
      ),
      fc.string({ unit: 'binary', maxLength: 80 }),
      fc.string({ maxLength: 80 }),
    );
    const names = [lin, ada, mallory];
    let turn = 0;
    await fc.assert(
      fc.asyncProperty(hostile, hostile, fc.boolean(), fc.boolean(), async (a, b, goodHost, goodLogin) => {
        const [host, login] = [goodHost ? 'web-01' : a, goodLogin ? 'deploy' : b];
        turn += 1;
        const reply = await ca.sign(names[turn % 3] ?? lin, { host, login });
        const wellFormed = HOST.test(host) && LOGIN.test(login);
        if (!wellFormed) expect(reply.status).toBe(400);
        else expect([201, 403, 404]).toContain(reply.status);
        if (reply.status !== 201) return;
        const { principals } = parseCertificateLine(reply.body['certificate']);
        expect(principals).toEqual([`${login}@${host}`]);
        expect(principals[0]).toMatch(PRINCIPAL);
      }),
      { numRuns: 90 },
    );
  });

  test('A2: names at the edges of their form give exactly their own principal', async () => {
    const hosts = ['a', `${'b'.repeat(62)}9`, 'x.y-z.0', '0'];
    const logins = ['_', `_${'a-'.repeat(15)}z`, 'x0_-'];
    for (const id of hosts) await ca.addHost(ada, id, { logins });
    for (const host of hosts) {
      for (const login of logins) {
        const { status, body } = await ca.sign(ada, { host, login });
        expect([status, body['principal']]).toEqual([201, `${login}@${host}`]);
        expect(parseCertificateLine(body['certificate']).principals).toEqual([`${login}@${host}`]);
      }
    }
  });

  test.each<[number, number]>([
    [201, 30],
    [201, 900],
    [201, 3600],
  ])('A3: answers %d to exactly %d seconds, and gives exactly them', async (status, lifetime) => {
    const at = new Date(Math.floor(Date.now() / 1000) * 1000 + 777);
    ca.clock.frozenAt = at;
    const reply = await ca.sign(ada, { lifetime_seconds: lifetime });
    expect(reply.status).toBe(status);
    const certificate = parseCertificateLine(reply.body['certificate']);
    const seconds = BigInt(Math.floor(at.getTime() / 1000));
    // C9: 60 seconds back for clocks that are behind, to the second.
    expect([certificate.validAfter, certificate.validBefore]).toEqual([
      seconds - 60n,
      seconds + BigInt(lifetime),
    ]);
    expect(reply.body['valid_before']).toBe(new Date(Number(certificate.validBefore) * 1000).toISOString());
    expect(reply.body).not.toHaveProperty('shortened_by');
  });

  test('A3: a lifetime over the policy is denied with the longest that would be allowed, and never cut down', async () => {
    for (const lifetime of [901, 3600]) {
      const reply = await expectRefused(
        () => ca.sign(lin, { lifetime_seconds: lifetime }),
        403,
        'policy-denied',
      );
      expect(reply.body['denial']).toMatchObject({
        reason: { code: 'lifetime' },
        missing: [{ kind: 'lifetime', longest_seconds: 900 }],
      });
    }
  });

  test.each([
    ...['0', '-1', '29', '3601', '1.5', '29.999', '1e308', '-1e308', '"900"', 'null', 'true', '[900]', '{}'],
    ...[
      '18446744073709551616',
      '18446744073709552516',
      '9007199254740993',
      '1e999',
      'NaN',
      'Infinity',
      '0x1e',
      '-0',
    ],
  ])('A4: refuses a lifetime of %s', async (text) => {
    const signer = newSigner();
    const key = formatPublicKeyLine(signer.publicKey);
    const raw = `{"v":1,"host":"web-01","login":"deploy","public_key":"${key}","lifetime_seconds":${text}}`;
    await expectMalformed(() => ca.sign(ada, {}, { raw, signer }));
  });

  test('A4: a validity of the caller’s own is no part of a request', async () => {
    await expectMalformed(() => ca.sign(lin, { valid_before: '2020-01-01T00:00:00.000Z' }));
    await expectMalformed(() => ca.sign(lin, { valid_after: 0 }));
  });
});

describe('the key', () => {
  test('A7: a key that another person’s certificate has used is refused, for good', async () => {
    const signer = newSigner();
    const kim = await ca.login('kim');
    expect((await ca.sign(lin, {}, { signer })).status).toBe(201);
    expect((await ca.sign(lin, {}, { signer })).status).toBe(201);
    await expectRefused(() => ca.sign(kim, {}, { signer }), 409, 'key-in-use');
  });

  test('A7: a host’s key and the CA’s own keys are refused', async () => {
    const signer = newSigner();
    expect((await ca.addHost(ada, 'host-with-key', { signer })).status).toBe(201);
    for (const one of [signer, ca.keys.userCa, ca.keys.hostCa])
      await expectRefused(() => ca.sign(lin, {}, { signer: one }), 409, 'key-in-use');
  });

  test('A8: somebody else’s public key is not signed without a proof by its private key', async () => {
    const [theirs, mine] = [newSigner(), newSigner()];
    const wish = { public_key: formatPublicKeyLine(theirs.publicKey) };
    await expectRefused(() => ca.sign(lin, wish, { signer: mine }), 401, 'key-proof-invalid');
    const body = JSON.stringify({ v: 1, host: 'web-01', login: 'deploy', lifetime_seconds: 60, ...wish });
    await expectRefused(
      () => ca.ask(lin, 'POST', '/v1/certificates', undefined, { raw: body }),
      401,
      'key-proof-missing',
    );
    const sign = async (namespace: string, message: string) =>
      (await signMessage(theirs, namespace, Buffer.from(message))).toString('base64url');
    for (const keyProof of [
      await sign('certificate@beacon', `${body} `),
      await sign('git', body),
      await sign('file', body),
      'AAAA',
      '',
    ])
      await expectRefused(() => ca.sign(lin, {}, { raw: body, keyProof }), 401, 'key-proof-invalid');
    expect(
      (await ca.sign(lin, {}, { raw: body, keyProof: await sign('certificate@beacon', body) })).status,
    ).toBe(201);
  });

  test('refuses a small RSA key, a DSA key and what is no key', async () => {
    for (const [line, code] of [
      ['ssh-rsa AAAAB3NzaC1yc2E=', 'public-key-malformed'],
      [`ssh-ed25519 ${Buffer.alloc(51).toString('base64')}`, 'public-key-malformed'],
      ['ssh-dss AAAAB3NzaC1kc3MAAACBAP==', 'public-key-malformed'],
      ['certificate of nobody at all', 'public-key-malformed'],
      [ca.issued[0] ?? '', 'public-key-malformed'],
    ] as const)
      expect(refusal(await ca.sign(lin, { public_key: line }))).toEqual({ status: 400, code });
  });
});

describe('what no header changes', () => {
  test('A12: an address, a method or a person named in a header counts for nothing', async () => {
    const plain = await SmallCa.start();
    try {
      const person = await plain.login('lin');
      const headers = {
        'x-forwarded-for': '203.0.113.9',
        'x-forwarded-host': 'evil.example',
        'x-forwarded-proto': 'https',
        forwarded: 'for=203.0.113.9',
        'x-real-ip': '203.0.113.9',
        'x-http-method-override': 'DELETE',
        'x-client-cert-subject': 'CN=ada',
        'x-remote-user': 'ada',
        'x-person': 'github:101',
      };
      const { status, body } = await plain.sign(person, {}, { headers });
      expect(status).toBe(201);
      expect(body['key_id']).toMatch(/\/github:102$/);
      const { facts } = await plain.lastRecord();
      const { records, store } = plain.running.ca;
      expect(await records.reveal(store, String(facts?.['source']))).toBe('127.0.0.1');
      expect((await plain.send('GET', '/v1/hosts', undefined, headers)).status).toBe(401);
    } finally {
      await plain.close();
    }
  });

  test('A12: a proof for the address that Host names is refused: only the configured URL counts', async () => {
    const proof = await ca.proof({ ...lin }, 'GET', '/v1/hosts');
    const elsewhere = Object.create(ca) as SmallCa;
    elsewhere.url = 'http://evil.example';
    const foreign = await elsewhere.proof(lin, 'GET', '/v1/hosts');
    expect((await ca.ask(lin, 'GET', '/v1/hosts', undefined, { proof })).status).toBe(200);
    const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example' };
    const reply = await ca.ask(lin, 'GET', '/v1/hosts', undefined, { proof: foreign, headers });
    expect(refusal(reply)).toEqual({ status: 401, code: 'proof-invalid' });
  });
});
