import { createHash, randomBytes } from 'node:crypto';
import { parseInventory } from '@beacon/policy';
import { parseCertificateLine } from '@beacon/ssh/certificate';
import { generateKey } from '@beacon/ssh/key';
import { optionText } from '@beacon/ssh/options';
import { fingerprint } from '@beacon/ssh/public-key';
import { createSigner } from '@beacon/ssh/signature';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type LoggedIn, PERSONS, refusal, SmallCa } from './small-ca.ts';
import { listCertificates } from './ssh-keygen.ts';

let ca: SmallCa;
let ada: LoggedIn;
let lin: LoggedIn;
let portal: LoggedIn;
beforeAll(async () => {
  ca = await SmallCa.start();
  [ada, lin] = [await ca.login('ada'), await ca.login('lin')];
  portal = await ca.loginAtPortal('lin');
});
afterAll(() => ca.close());
afterEach(() => {
  ca.clock.frozenAt = undefined;
});

/** The digest of a command's arguments as DESIGN 3.3 words it, written a second time. */
function digestOf(
  command: string,
  salt: Buffer,
  params: string,
  commitments: Record<string, Buffer>,
): string {
  const string = (value: string | Buffer) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from([0, 0, bytes.length >> 8, bytes.length & 255]), bytes]);
  };
  const parts = [Buffer.from('beacon-arguments-1\0'), string(command), string(salt), string(params)];
  for (const name of Object.keys(commitments).sort())
    parts.push(string(name), string(commitments[name] ?? Buffer.alloc(0)));
  return createHash('sha256').update(Buffer.concat(parts)).digest('base64url');
}

function commit(salt: Buffer, secret: string): Buffer {
  return createHash('sha256').update('beacon-secret-1\0').update(salt).update(secret).digest();
}

const encode = (bytes: Buffer) => bytes.toString('base64url');

/** A run of two commands, one with a secret parameter and both with an undo. */
function makeRun() {
  const salts = Array.from({ length: 4 }, () => randomBytes(32));
  const [a = Buffer.alloc(0), b = Buffer.alloc(0), c = Buffer.alloc(0), d = Buffer.alloc(0)] = salts;
  const token = commit(randomBytes(32), 'ghs_registration-token-canary');
  const params = [
    '{"name":"r1","version":"2.330.0"}',
    '{"name":"r1"}',
    '{ "scope": "acme/site",  "name": "r1" }',
  ];
  const [install = '', remove = '', configure = ''] = params;
  const undo = (salt: Buffer) => ({
    command: 'runner.remove',
    params: remove,
    salt: encode(salt),
    commitments: {},
  });
  return {
    salts,
    commands: [
      { command: 'runner.install', params: install, salt: encode(a), commitments: {}, undo: undo(b) },
      {
        command: 'runner.configure',
        params: configure,
        salt: encode(c),
        commitments: { token: encode(token) },
        undo: undo(d),
      },
    ],
    granted: [
      {
        command: 'runner.install',
        digest: digestOf('runner.install', a, install, {}),
        undo: { command: 'runner.remove', digest: digestOf('runner.remove', b, remove, {}) },
      },
      {
        command: 'runner.configure',
        digest: digestOf('runner.configure', c, configure, { token }),
        undo: { command: 'runner.remove', digest: digestOf('runner.remove', d, remove, {}) },
      },
    ],
  };
}

async function sessionOf(who: LoggedIn): Promise<{ id: string; ends_at: string }> {
  return (await ca.ask(who, 'GET', '/v1/sessions/current')).body['session'];
}

describe('a personal certificate', () => {
  test('C1, C2, A16: carries what policy says, as flags, and nothing else', async () => {
    const { body } = await ca.sign(lin);
    const certificate = parseCertificateLine(body['certificate']);
    expect(certificate.kind).toBe('user');
    expect(certificate.criticalOptions).toEqual([]);
    expect(certificate.extensions).toEqual([{ name: 'permit-pty', form: 'flag' }]);
    expect(certificate.principals).toEqual(['deploy@web-01']);
    expect(certificate.keyId).toBe(`beacon/${body['grant']}/github:102`);
    expect(body['policies']).toEqual(['web-team-logs-in']);
    const bare = parseCertificateLine(
      (await ca.sign(ada, { host: 'db-01', login: 'root' })).body['certificate'],
    );
    expect([bare.criticalOptions, bare.extensions]).toEqual([[], []]);
  });

  test('A16: nothing of a person’s or a host’s names is put into a certificate', async () => {
    const hostile = 'x","permit-X11-forwarding":"","a":" force-command=id {{.Token}}';
    ca.standin.state.renamePerson(PERSONS.kim, hostile);
    // GitHub gives no such name, so somebody else speaks for it: nobody is signed in.
    await expect(ca.login(hostile as 'kim')).rejects.toThrow(/GitHub does not answer as it should/);
    ca.standin.state.renamePerson(PERSONS.kim, 'Name-Of-Kim');
    const who = await ca.login('Name-Of-Kim' as 'kim');
    expect((await ca.ask(who, 'GET', '/v1/sessions/current')).body['session'].name).toBe('Name-Of-Kim');
    ca.standin.state.renamePerson(PERSONS.kim, 'kim');
    const line: string = (await ca.sign({ ...who, person: 'github:105' })).body['certificate'];
    const certificate = parseCertificateLine(line);
    expect(certificate.keyId).toMatch(/^beacon\/[0-9a-z]{26}\/github:105$/);
    expect(certificate.extensions.map(({ name }) => name)).toEqual(['permit-pty']);
    expect(Buffer.from(line.split(' ')[1] ?? '', 'base64').toString('latin1')).not.toMatch(
      /Token|force-command|X11|Name-Of|192[.]0[.]2|env/,
    );
  });
});

describe('a certificate for a run', () => {
  test('carries its grant, the addresses of its service, and nothing that opens a login', async () => {
    const run = makeRun();
    const reply = await ca.sign(portal, { commands: run.commands, lifetime_seconds: 1800 });
    expect(reply.status).toBe(201);
    const certificate = parseCertificateLine(reply.body['certificate']);
    expect(certificate.extensions.map(({ name }) => name)).toEqual(['grant@beacon']);
    expect(certificate.criticalOptions.map(({ name }) => name)).toEqual(['source-address']);
    expect(optionText(certificate.criticalOptions, 'source-address')).toBe('192.0.2.10/32,2001:db8::/64');
    const { id } = await sessionOf(portal);
    // The exact text, keys in the order of DESIGN section 4.
    expect(optionText(certificate.extensions, 'grant@beacon')).toBe(
      JSON.stringify({
        v: 1,
        grant: reply.body['grant'],
        session: createHash('sha256').update(id).digest('base64url'),
        person: 'github:102',
        service: 'portal',
        host: 'web-01',
        login: 'deploy',
        commands: run.granted,
      }),
    );
    const record = await ca.lastRecord();
    expect(record).toMatchObject({ kind: 'certificate', service: 'portal', grant: reply.body['grant'] });
    expect(record.facts?.['commands']).toEqual([
      { ...run.granted[0], params: { name: 'r1', version: '2.330.0' } },
      { ...run.granted[1], params: { name: 'r1', scope: 'acme/site' } },
    ]);
    for (const salt of run.salts) {
      expect(reply.text).not.toContain(encode(salt));
      expect(record.line).not.toContain(encode(salt));
      expect(ca.storedBytes().includes(encode(salt))).toBe(false);
    }
    const listed = await ca.ask(lin, 'GET', `/v1/certificates/${reply.body['serial']}`);
    expect(listed.body).toMatchObject({
      commands: ['runner.install', 'runner.configure'],
      service: 'portal',
    });
  });

  test.each<[string, (command: Record<string, unknown>) => unknown]>([
    ['a salt of 31 bytes', (one) => ({ ...one, salt: encode(Buffer.alloc(31)) })],
    ['a commitment of 33 bytes', (one) => ({ ...one, commitments: { token: encode(Buffer.alloc(33)) } })],
    ['a digest', (one) => ({ ...one, digest: encode(Buffer.alloc(32)) })],
    ['params that are no text', (one) => ({ ...one, params: { name: 'r1' } })],
    ['a number among params', (one) => ({ ...one, params: '{"name":1}' })],
    ['a doubled parameter', (one) => ({ ...one, params: '{"name":"r1","name":"r2","version":"1"}' })],
    ['params that are no JSON', (one) => ({ ...one, params: '{"name":"r1"' })],
    ['a command’s name in capitals', (one) => ({ ...one, command: 'Runner.Install' })],
    ['an undo of an undo', (one) => ({ ...one, undo: { ...one, undo: { ...one } } })],
  ])('refuses %s', async (_what, change) => {
    const [first, second] = makeRun().commands;
    const { status, body } = await ca.sign(portal, { commands: [change({ ...first }), second] });
    expect(status).toBe(400);
    expect(['body-malformed', 'arguments-malformed']).toContain(body['code']);
  });

  test('refuses a command that is asked for twice, and leaves one record', async () => {
    const [first] = makeRun().commands;
    const before = (await ca.records()).length;
    expect(refusal(await ca.sign(portal, { commands: [first, first] }))).toEqual({
      status: 400,
      code: 'arguments-malformed',
    });
    expect((await ca.records()).slice(before).map(({ kind, facts }) => [kind, facts?.['code']])).toEqual([
      ['refused', 'arguments-malformed'],
    ]);
  });

  test.each<[string, unknown, string]>([
    ['a command of no policy', [{ command: 'disk.wipe', params: '{}' }], 'no-permit'],
    ['a command that no host offers', [{ command: 'disk.format', params: '{}' }], 'command'],
    ['a parameter that nobody knows', [{ command: 'runner.remove', params: '{"x":"1"}' }], 'parameter'],
    ['a value out of its pattern', [{ command: 'runner.remove', params: '{"name":"R 1"}' }], 'parameter'],
    [
      'a secret in the open',
      [{ command: 'runner.configure', params: '{"name":"r","scope":"a/b","token":"t"}' }],
      'parameter',
    ],
    [
      'another undo than its own',
      [
        {
          command: 'disk.wipe',
          params: '{}',
          undo: {
            command: 'runner.remove',
            params: '{"name":"r"}',
            salt: encode(Buffer.alloc(32)),
            commitments: {},
          },
        },
      ],
      'undo',
    ],
  ])('P2: denies %s', async (_what, commands, reason) => {
    const list = (commands as object[]).map((one) => ({
      salt: encode(Buffer.alloc(32)),
      commitments: {},
      ...one,
    }));
    const [serials, before] = [await ca.serials(), (await ca.records()).length];
    const reply = await ca.sign(portal, { commands: list });
    expect(refusal(reply)).toEqual({ status: 403, code: 'policy-denied' });
    expect(reply.body['denial'].reason.code).toBe(reason);
    expect(await ca.serials()).toEqual(serials);
    const left = (await ca.records()).slice(before);
    expect(left).toMatchObject([
      { kind: 'refused', person: 'github:102', service: 'portal', facts: { code: 'policy-denied' } },
    ]);
    expect(String(left[0]?.facts?.['denial'])).toContain(`"code":"${reason}"`);
  });

  test('P2: the command line’s runs do not pass a policy that names the portal', async () => {
    const reply = await ca.sign(lin, { commands: makeRun().commands });
    expect(reply.status).toBe(403);
    expect(reply.body['denial'].missing).toContainEqual({ kind: 'service', service: 'portal' });
  });

  test('a service may do no more than its entry says', async () => {
    const before = (await ca.records()).length;
    expect(refusal(await ca.sign(portal))).toEqual({ status: 403, code: 'service-refused' });
    expect((await ca.records()).slice(before)).toMatchObject([
      { kind: 'refused', service: 'portal', facts: { code: 'service-refused' } },
    ]);
  });

  test('refuses a grant over 8 KiB and keeps a record of it', async () => {
    const names = Array.from({ length: 32 }, (_, index) => `c${'x'.repeat(55)}${index}`);
    const wide = await SmallCa.start();
    try {
      const commands = Object.fromEntries(names.map((name) => [name, { undo: name, params: {} }]));
      const text = `permit (principal, action in [${names.map((name) => `Action::"${name}"`).join(', ')}], resource);`;
      await wide.restart({
        inventory: parseInventory({ version: 1, commands }),
        policies: [{ name: 'a.cedar', text }],
      });
      const who = await wide.loginAtPortal('lin');
      const one = (command: string) => ({
        command,
        params: '{}',
        salt: encode(Buffer.alloc(32)),
        commitments: {},
      });
      const asked = names.map((name) => ({ ...one(name), undo: one(name) }));
      expect((await wide.sign(who, { commands: asked.slice(0, 16) })).status).toBe(201);
      const [serials, before] = [await wide.serials(), (await wide.records()).length];
      const reply = await wide.sign(who, { commands: asked });
      expect(refusal(reply)).toEqual({ status: 400, code: 'grant-too-long' });
      expect(await wide.serials()).toEqual(serials);
      expect((await wide.records()).slice(before)).toMatchObject([
        { kind: 'refused', facts: { code: 'grant-too-long' } },
      ]);
    } finally {
      await wide.close();
    }
  });
});

describe('the session’s end', () => {
  test('shortens a certificate, and the answer names what shortened it', async () => {
    const end = new Date((await sessionOf(lin)).ends_at);
    // The access token is still good on the real clock; the CA's clock is what is asked for the token's end, so both move.
    const short = await SmallCa.start({ sessionMaxHours: 0.1 });
    try {
      const who = await short.login('lin');
      const current = (await short.ask(who, 'GET', '/v1/sessions/current')).body['session'];
      const ends = Math.floor(Date.parse(current.ends_at) / 1000);
      const reply = await short.sign(who, { lifetime_seconds: 900 });
      expect(reply.body).toMatchObject({ shortened_by: 'session' });
      expect(parseCertificateLine(reply.body['certificate']).validBefore).toBe(BigInt(ends));
      expect(await short.sign(who, { lifetime_seconds: 60 })).toMatchObject({ status: 201 });
      expect((await short.sign(who, { lifetime_seconds: 60 })).body).not.toHaveProperty('shortened_by');
      short.clock.frozenAt = new Date((ends - 30) * 1000);
      expect((await short.sign(who, { lifetime_seconds: 900 })).body).toMatchObject({
        shortened_by: 'session',
      });
      short.clock.frozenAt = new Date((ends - 29) * 1000);
      expect(refusal(await short.sign(who, { lifetime_seconds: 30 }))).toEqual({
        status: 401,
        code: 'session-ending',
      });
      expect((await short.lastRecord()).facts?.['code']).toBe('session-ending');
      short.clock.frozenAt = new Date(Date.parse(current.ends_at));
      expect((await short.sign(who)).status).toBe(401);
      expect(end.getTime()).toBeGreaterThan(Date.now());
    } finally {
      await short.close();
    }
  });
});

describe('every certificate that was handed out', () => {
  test('A15, C3: is of its kind, by its own CA, with one principal and sorted options, as ssh-keygen reads them', async () => {
    await ca.addHost(ada, 'another');
    for (const type of [
      'ecdsa-sha2-nistp256',
      'ecdsa-sha2-nistp384',
      'ecdsa-sha2-nistp521',
      'ssh-rsa',
    ] as const)
      expect((await ca.sign(lin, {}, { signer: createSigner(generateKey(type).privateKey) })).status).toBe(
        201,
      );
    const [userCa, hostCa] = [ca.keys.userCa, ca.keys.hostCa].map(({ publicKey }) => fingerprint(publicKey));
    const listed = listCertificates(ca.issued);
    expect(listed.length).toBe(ca.issued.length);
    expect(listed.length).toBeGreaterThan(8);
    for (const [index, one] of listed.entries()) {
      const host = one.keyId.startsWith('beacon/host/');
      expect(one.kind).toBe(host ? 'host' : 'user');
      expect(one.signingCa).toBe(host ? hostCa : userCa);
      expect(one.principals).toHaveLength(1);
      expect(one.serial).not.toBe('0');
      const certificate = parseCertificateLine(ca.issued[index] ?? '');
      expect(one).toMatchObject({
        type: certificate.type,
        keyId: certificate.keyId,
        serial: certificate.serial.toString(),
        principals: certificate.principals,
        publicKey: fingerprint(certificate.publicKey),
        validFrom: new Date(Number(certificate.validAfter) * 1000).toISOString().slice(0, 19),
        validTo: new Date(Number(certificate.validBefore) * 1000).toISOString().slice(0, 19),
      });
      for (const options of [certificate.criticalOptions, certificate.extensions]) {
        const names = options.map(({ name }) => name);
        expect(names).toEqual([...new Set(names)].sort());
      }
      if (host) expect([one.criticalOptions, one.extensions]).toEqual([[], []]);
      expect(one.criticalOptions.every((option) => option.startsWith('source-address '))).toBe(true);
      expect(
        one.extensions.every((option) => /^(permit-pty|grant@beacon UNKNOWN OPTION.*)$/.test(option)),
      ).toBe(true);
    }
  });
});
