/** What a refusal leaves, and what it does not tell (ATTACKS: "one record with a reason code, constant-shape response"). */
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sql } from 'kysely';
import { type LoggedIn, newSigner, type Reply, refusal, SmallCa } from './small-ca.ts';

let ca: SmallCa;
let lin: LoggedIn;
let kim: LoggedIn;
let serial: string;
let grant: string;
let session: string;
const signer = newSigner();
beforeAll(async () => {
  ca = await SmallCa.start({ trustedProxies: ['127.0.0.1'] });
  lin = await ca.login('lin');
  kim = await ca.login('kim');
  const issued = await ca.sign(kim, {}, { signer });
  serial = issued.body['serial'];
  grant = issued.body['grant'];
  session = (await ca.ask(kim, 'GET', '/v1/sessions/current')).body['session'].id;
});
afterAll(() => ca.close());

async function recordsOf(work: () => Promise<unknown>) {
  const before = (await ca.records()).length;
  await work();
  return (await ca.records()).slice(before);
}

describe('a request that cannot be read', () => {
  test.each([
    ['no JSON', 'certificates', '{"v":1,'],
    ['an unknown key', 'certificates', '{"v":1,"principals":["root"]}'],
    ['a doubled key', 'revocations', '{"v":1,"v":1}'],
    ['another version', 'decisions', '{"v":2}'],
  ])('A1: of a known caller leaves one record with its rule (%s)', async (_what, path, raw) => {
    const left = await recordsOf(async () => {
      const reply = await ca.ask(lin, 'POST', `/v1/${path}`, undefined, { raw });
      expect(refusal(reply)).toEqual({ status: 400, code: 'body-malformed' });
    });
    expect(left).toMatchObject([
      {
        kind: 'refused',
        person: 'github:102',
        service: 'beacon-cli',
        facts: { code: 'body-malformed', method: 'POST', path: `/v1/${path}` },
      },
    ]);
  });

  test('A1: uses its proof up', async () => {
    const raw = '{"v":1}';
    const proof = await ca.proof(lin, 'POST', '/v1/decisions', raw);
    expect((await ca.ask(lin, 'POST', '/v1/decisions', undefined, { raw, proof })).status).toBe(400);
    const { rows } = await sql<{ count: number }>`select count(*) as count from used_proofs`.execute(
      ca.running.ca.store,
    );
    expect((await ca.ask(lin, 'POST', '/v1/decisions', undefined, { raw, proof })).status).toBe(400);
    const after = await sql<{ count: number }>`select count(*) as count from used_proofs`.execute(
      ca.running.ca.store,
    );
    expect(after.rows).toEqual(rows);
  });

  test('A1: of a stranger leaves none, nor does a limit: nobody fills the store', async () => {
    expect(
      await recordsOf(async () => {
        expect((await ca.send('POST', '/v1/certificates', '{"v":1,')).status).toBe(401);
        expect((await ca.send('GET', '/v1/certificates?x=1')).status).toBe(400);
        const [token] = [`DPoP ${'A'.repeat(43)}`];
        expect((await ca.send('GET', '/v1/hosts', undefined, { authorization: token })).status).toBe(401);
      }),
    ).toEqual([]);
  });
});

describe('what may be used once', () => {
  test('A9, T5: a replay of a read leaves one record', async () => {
    const proof = await ca.proof(lin, 'GET', '/v1/hosts');
    expect((await ca.ask(lin, 'GET', '/v1/hosts', undefined, { proof })).status).toBe(200);
    const left = await recordsOf(async () => {
      const again = await ca.ask(lin, 'GET', '/v1/hosts', undefined, { proof });
      expect(refusal(again)).toEqual({ status: 401, code: 'proof-replayed' });
    });
    expect(left).toMatchObject([
      { kind: 'refused', person: 'github:102', facts: { code: 'proof-replayed', path: '/v1/hosts' } },
    ]);
  });

  test('T5: when the store cannot say whether a proof was used, nothing is read and nothing is done', async () => {
    const { store } = ca.running.ca;
    const serials = await ca.serials();
    await sql`create trigger broken before insert on used_proofs begin select raise(fail, 'disk I/O error'); end`.execute(
      store,
    );
    try {
      expect(
        await recordsOf(async () => {
          for (const [method, path, body] of [
            ['GET', '/v1/hosts', undefined],
            ['GET', '/v1/certificates', undefined],
            ['POST', '/v1/revocations', { v: 1, by: 'person', value: 'github:102', reason: 'x' }],
          ] as const) {
            const reply = await ca.ask(lin, method, path, body);
            expect([path, reply.status >= 500]).toEqual([path, true]);
            expect(Object.keys(reply.body).sort()).toEqual([
              'code',
              'detail',
              'id',
              'status',
              'title',
              'type',
            ]);
          }
          expect((await ca.sign(lin)).status).toBeGreaterThanOrEqual(500);
        }),
      ).toEqual([]);
      expect(await ca.serials()).toEqual(serials);
    } finally {
      await sql`drop trigger broken`.execute(store);
    }
    expect((await ca.sign(lin)).status).toBe(201);
  });
});

/** All of a refusal that its reader sees, what was asked for taken out of it. */
function shape(reply: Reply, asked: string) {
  const { id: _id, ...body } = reply.body;
  const headers = [...reply.headers.keys()].filter((name) => !['date', 'x-request-id'].includes(name)).sort();
  const literally = asked.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const text = JSON.stringify(body).replace(new RegExp(`(?<!\\w)${literally}(?!\\w)`, 'g'), '*');
  return { status: reply.status, headers, text };
}

describe('what is another person’s and what does not exist', () => {
  const NOWHERE = '01h455vb4pex5vsknk084sn02q';
  const revoke = (by: string, value: string) =>
    ca.ask(lin, 'POST', '/v1/revocations', { v: 1, by, value, reason: 'curious' });
  const questions: [string, (which: 'other' | 'none') => [string, () => Promise<Reply>]][] = [
    [
      'a certificate',
      (which) => {
        const asked = which === 'other' ? serial : '987654321';
        return [asked, () => ca.ask(lin, 'GET', `/v1/certificates/${asked}`)];
      },
    ],
    [
      'the revocation of a serial',
      (which) => {
        const asked = which === 'other' ? serial : '987654321';
        return [asked, () => revoke('serial', asked)];
      },
    ],
    [
      'the revocation of a grant',
      (which) => {
        const asked = which === 'other' ? grant : NOWHERE;
        return [asked, () => revoke('grant', asked)];
      },
    ],
    [
      'the revocation of a key',
      (which) => {
        const asked = formatPublicKeyLine((which === 'other' ? signer : newSigner()).publicKey);
        return [asked, () => revoke('public_key', asked)];
      },
    ],
    [
      'the revocation of a person',
      (which) => {
        const asked = which === 'other' ? 'github:105' : 'github:999999';
        return [asked, () => revoke('person', asked)];
      },
    ],
    [
      'a session',
      (which) => {
        const asked = which === 'other' ? session : NOWHERE;
        return [asked, () => ca.ask(lin, 'DELETE', `/v1/sessions/${asked}`)];
      },
    ],
    [
      'the sessions of a person',
      (which) => {
        const asked = which === 'other' ? 'github:105' : 'github:999999';
        return [asked, () => ca.ask(lin, 'GET', `/v1/sessions?person=${asked}`)];
      },
    ],
    [
      'the records of a person',
      (which) => {
        const asked = which === 'other' ? 'github:105' : 'github:999999';
        return [asked, () => ca.ask(lin, 'GET', `/v1/records?person=${asked}`)];
      },
    ],
    [
      'disabling a person',
      (which) => {
        const asked = which === 'other' ? 'github:105' : 'github:999999';
        return [asked, () => ca.ask(lin, 'POST', `/v1/persons/${asked}/disable`, { v: 1, reason: 'x' })];
      },
    ],
    [
      'a decision about a person',
      (which) => {
        const asked = which === 'other' ? 'github:105' : 'github:999999';
        const body = { v: 1, host: 'web-01', login: 'deploy', lifetime_seconds: 60, person: asked };
        return [asked, () => ca.ask(lin, 'POST', '/v1/decisions', body)];
      },
    ],
    [
      'a change of a host',
      (which) => {
        const asked = which === 'other' ? 'web-01' : 'web-99';
        return [asked, () => ca.ask(lin, 'POST', `/v1/hosts/${asked}/disable`, { v: 1, reason: 'x' })];
      },
    ],
  ];

  test.each(questions)('Q6: are refused alike: %s', async (_what, question) => {
    const [other, askOther] = question('other');
    const [none, askNone] = question('none');
    const [forOther, forNone] = [shape(await askOther(), other), shape(await askNone(), none)];
    expect(forNone).toEqual(forOther);
    expect([403, 404]).toContain(forOther.status);
  });

  test('Q6: a token that never was, and ones that were another’s, are refused alike', async () => {
    const form = async (fields: Record<string, string>) => {
      const reply = await fetch(`${ca.url}/oauth/token`, {
        method: 'POST',
        headers: {
          dpop: await ca.proof(lin, 'POST', '/oauth/token'),
          'x-forwarded-for': '198.51.100.200',
        },
        body: new URLSearchParams({ client_id: 'beacon-cli', ...fields }),
      });
      return { status: reply.status, text: await reply.text() };
    };
    const refresh = (refresh_token: string) => form({ grant_type: 'refresh_token', refresh_token });
    expect(await refresh(kim.refreshToken)).toEqual(await refresh('A'.repeat(43)));
    const poll = (device_code: string) =>
      form({ grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code });
    const never = await poll('A'.repeat(43));
    expect(never).toEqual(await poll(kim.refreshToken));
    expect(never.status).toBe(400);
  });
});

describe('one’s own', () => {
  test('P8: who may do all at the CA cannot let themselves in: no request changes a policy, and authority opens no host', async () => {
    const all = ['hosts', 'persons', 'revoke', 'records', 'decisions', 'rotate'].map(
      (word) => `Action::"ca.${word}"`,
    );
    const text = `@id("chief") permit (principal == Person::"github:103", action in [${all.join(', ')}], resource);
@id("team") permit (principal in Team::"github:7001", action == Action::"ssh", resource in Pool::"web");`;
    await ca.restart({ policies: [{ name: 'a.cedar', text }] });
    try {
      const chief = await ca.login('mallory');
      const own = await ca.login('mallory');
      expect((await ca.ask(chief, 'GET', '/v1/records')).status).toBe(200);
      expect(refusal(await ca.sign(chief))).toEqual({ status: 403, code: 'policy-denied' });
      const { paths } = (await ca.send('GET', '/openapi.json')).body as { paths: object };
      expect(Object.keys(paths).filter((path) => /polic|service|inventor|rule/.test(path))).toEqual([]);
      // A second identity takes the first one's rights away, and the first cannot take them back.
      const other = `${text.replace('github:103"', 'github:105"').replace('"chief"', '"second"')}\n${text.split('\n', 1).join('')}`;
      await ca.restart({ policies: [{ name: 'a.cedar', text: other }] });
      const disable = await ca.ask(kim, 'POST', '/v1/persons/github:103/disable', { v: 1, reason: 'left' });
      expect(disable.status).toBe(200);
      for (const who of [chief, own]) {
        const back = await ca.ask(who, 'POST', '/v1/persons/github:103/enable', { v: 1, reason: 'me' });
        expect(back.status).toBe(401);
      }
      await expect(ca.login('mallory')).rejects.toThrow();
      expect((await ca.records()).filter(({ kind }) => kind === 'person-enabled')).toEqual([]);
    } finally {
      await ca.restart();
    }
  });
});
