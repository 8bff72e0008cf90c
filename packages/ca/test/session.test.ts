import { randomBytes } from 'node:crypto';
import { isId } from '@beacon/protocol/id';
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { engines } from '../../server/test/postgres.ts';
import { Browser, fieldOf, Lab, makeKeys, makeService } from './authorization-lab.ts';
import { passTime } from './clock.ts';

const RETURN = 'https://portal.example/callback';
const portal = await makeService('portal', ['login', 'exchange'], [RETURN]);
describe.each(engines)('sessions on $engine', ({ place }) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start({ place: await place(), services: [portal.service], sessionMaxHours: 2 });
  });
  afterEach(() => {
    jest.useRealTimers();
    lab.standin.state.clearFaults();
    lab.disabled.clear();
    lab.warnings.length = 0;
  });
  afterAll(() => lab.close());

  const HOUR = 3_600_000;

  async function sessionOf(keys: Awaited<ReturnType<typeof makeKeys>>, access: string) {
    const { answer } = await lab.whoami(keys, access);
    const session = await lab.authorization.sessions.find(String(answer['sessionId']));
    if (session === undefined) throw new Error(JSON.stringify(answer));
    return session;
  }

  async function recordsOf(session: string) {
    const rows = await lab.database.selectFrom('records').select('line').orderBy('seq').execute();
    return rows
      .map(
        ({ line }) =>
          JSON.parse(line) as {
            kind: string;
            person?: string;
            service?: string;
            facts: Record<string, unknown>;
          },
      )
      .filter(({ facts }) => facts['session'] === session);
  }

  test('a login makes one session of that person, client and key, with an absolute end, and a record of it', async () => {
    const keys = await makeKeys();
    const { access } = await lab.login(keys);
    const session = await sessionOf(keys, access);
    expect(isId(session.id)).toBe(true);
    expect(session).toMatchObject({
      person: 'github:583231',
      loginName: 'alice',
      client: 'beacon-cli',
      keyThumbprint: keys.thumbprint,
      endedAt: undefined,
    });
    expect(session.endsAt.getTime() - session.startedAt.getTime()).toBe(2 * HOUR);
    const [began, ...rest] = await recordsOf(session.id);
    expect(began).toMatchObject({ kind: 'session-began', person: 'github:583231', service: 'beacon-cli' });
    expect(JSON.stringify(began)).not.toContain('alice');
    expect(rest).toEqual([]);
  });

  test('refresh tokens rotate, stay with the key, and hold until the session ends, not beyond', async () => {
    const keys = await makeKeys();
    const first = await lab.login(keys);
    const second = await lab.refresh(keys, first.refresh);
    expect(second.status).toBe(200);
    expect(second.answer['refresh_token']).not.toBe(first.refresh);
    const stolen = await lab.refresh(await makeKeys(), String(second.answer['refresh_token']));
    expect(stolen.answer).toMatchObject({ error: 'invalid_grant' });

    passTime(2 * HOUR - 100_000);
    const late = await lab.refresh(keys, String(second.answer['refresh_token']));
    expect(late.status).toBe(200);
    expect(Number(late.answer['expires_in'])).toBeLessThanOrEqual(100);
    expect((await lab.whoami(keys, String(late.answer['access_token']))).status).toBe(200);
    passTime(101_000);
    expect((await lab.refresh(keys, String(late.answer['refresh_token']))).answer).toMatchObject({
      error: 'invalid_grant',
    });
    expect((await lab.whoami(keys, String(late.answer['access_token']))).status).toBe(401);
  });

  test('a refresh token that is used twice ends the session', async () => {
    const keys = await makeKeys();
    const first = await lab.login(keys);
    const session = await sessionOf(keys, first.access);
    const second = await lab.refresh(keys, first.refresh);
    expect((await lab.refresh(keys, first.refresh)).answer).toMatchObject({ error: 'invalid_grant' });
    expect((await lab.refresh(keys, String(second.answer['refresh_token']))).answer).toMatchObject({
      error: 'invalid_grant',
    });
    expect(await lab.whoami(keys, String(second.answer['access_token']))).toMatchObject({
      answer: { error: 'session-ended' },
    });
    expect(await lab.authorization.sessions.find(session.id)).toMatchObject({ endedBy: 'revocation' });
    expect((await recordsOf(session.id)).map(({ kind }) => kind)).toEqual(['session-began', 'session-ended']);
  });

  test('ten refreshes at once give at most one new token', async () => {
    const keys = await makeKeys();
    const { refresh } = await lab.login(keys);
    const answers = await Promise.all(Array.from({ length: 10 }, () => lab.refresh(keys, refresh)));
    expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
  });

  test("a service's refresh token stays with the key of the session too", async () => {
    const verifier = randomBytes(32).toString('base64url');
    const { createHash } = await import('node:crypto');
    const url = new URL(`${lab.url}/oauth/authorize`);
    for (const [name, value] of Object.entries({
      client_id: 'portal',
      response_type: 'code',
      redirect_uri: RETURN,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    })) {
      url.searchParams.set(name, value);
    }
    const browser = new Browser();
    const page = await lab.travel(browser, url.href, 'alice');
    const decided = await browser.request(page.url, {
      form: { xsrf: fieldOf(page.text, 'xsrf'), decision: 'allow' },
    });
    const back = await lab.travel(browser, new URL(decided.location ?? '', lab.url).href, 'alice');
    const keys = await makeKeys();
    const tokens = await lab.token(keys, {
      grant_type: 'authorization_code',
      code: new URL(back.location ?? '').searchParams.get('code') ?? '',
      redirect_uri: RETURN,
      code_verifier: verifier,
      ...(await portal.assertion(lab.url)),
    });
    expect(tokens.status).toBe(200);
    const refresh = async (by: Awaited<ReturnType<typeof makeKeys>>) =>
      lab.token(by, {
        grant_type: 'refresh_token',
        refresh_token: String(tokens.answer['refresh_token']),
        ...(await portal.assertion(lab.url)),
      });
    expect((await refresh(await makeKeys())).answer).toMatchObject({ error: 'invalid_grant' });
    expect((await refresh(keys)).status).toBe(200);
  });

  test('ending a session is durable, works at once, and deletes the token at GitHub', async () => {
    const keys = await makeKeys();
    const { access, refresh } = await lab.login(keys);
    const { id } = await sessionOf(keys, access);
    const { sessions } = lab.authorization;
    const token = await sessions.githubToken(id);
    expect(lab.standin.state.findToken(token ?? '')).toBeDefined();

    const ended = await lab.commit.write((tx) => sessions.end(tx, id, 'person:github:583231'));
    expect(ended).toMatchObject({ id, endedBy: 'person:github:583231' });
    expect(await lab.commit.write((tx) => sessions.end(tx, id, 'again'))).toBeUndefined();
    expect(await sessions.githubToken(id)).toBeUndefined();
    expect(await lab.whoami(keys, access)).toMatchObject({ status: 401, answer: { error: 'session-ended' } });
    expect((await lab.refresh(keys, refresh)).answer).toMatchObject({ error: 'invalid_grant' });
    await sessions.releaseTokens();
    expect(lab.standin.state.findToken(token ?? '')).toBeUndefined();
    await lab.restart();
    expect(await lab.whoami(keys, access)).toMatchObject({ answer: { error: 'session-ended' } });
  });

  test('a token that GitHub could not delete is deleted later, also after a restart', async () => {
    const keys = await makeKeys();
    const { access } = await lab.login(keys);
    const { id } = await sessionOf(keys, access);
    const token = (await lab.authorization.sessions.githubToken(id)) ?? '';
    lab.standin.state.fault({
      method: 'DELETE',
      path: '/applications/*',
      effect: { kind: 'answer', status: 502, body: {} },
    });
    await lab.commit.write((tx) => lab.authorization.sessions.end(tx, id, 'administrator'));
    expect(await lab.authorization.sessions.releaseTokens()).toBe(1);
    expect(lab.standin.state.findToken(token)).toBeDefined();
    const said = lab.warnings.length;
    expect(said).toBeGreaterThan(0);
    expect(JSON.stringify(lab.warnings)).not.toContain(token);
    await lab.authorization.sessions.releaseNewTokens();
    expect(lab.warnings).toHaveLength(said);
    lab.standin.state.clearFaults();
    await lab.restart();
    await lab.authorization.maintain();
    expect(lab.standin.state.findToken(token)).toBeUndefined();
  });

  test('the GitHub token of a session that ran out is deleted too', async () => {
    const keys = await makeKeys();
    const { access } = await lab.login(keys);
    const token = (await lab.authorization.sessions.githubToken((await sessionOf(keys, access)).id)) ?? '';
    passTime(2 * HOUR + 1000);
    await lab.authorization.maintain();
    expect(lab.standin.state.findToken(token)).toBeUndefined();
  });

  test('a sign-in that nobody came back for leaves no token at GitHub', async () => {
    await lab.authorization.maintain();
    const before = lab.standin.state.tokens.size;
    await lab.travel(new Browser(), `${lab.url}/device`, 'alice');
    expect(lab.standin.state.tokens.size).toBe(before + 1);
    passTime(700_000);
    await lab.authorization.maintain();
    expect(lab.standin.state.tokens.size).toBe(before);
  });

  test('ending all sessions of a person leaves those of others', async () => {
    const [mine, second, theirs] = [await makeKeys(), await makeKeys(), await makeKeys()];
    const first = await lab.login(mine);
    const again = await lab.login(second);
    const bob = await lab.login(theirs, 'bob');
    const ended = await lab.commit.write((tx) =>
      lab.authorization.sessions.endAllOf(tx, 'github:583231', 'revocation'),
    );
    expect(ended).toBeGreaterThanOrEqual(2);
    expect((await lab.whoami(mine, first.access)).status).toBe(401);
    expect((await lab.whoami(second, again.access)).status).toBe(401);
    expect((await lab.whoami(theirs, bob.access)).status).toBe(200);
    expect(await lab.authorization.sessions.listAlive('github:583231')).toEqual([]);
  });

  test('ending all sessions of a person ends more of them than one page lists', async () => {
    const { sessions } = lab.authorization;
    const many = Array.from({ length: 1_005 }, (_, index) =>
      sessions.begin({
        person: 'github:700',
        loginName: 'many',
        client: 'beacon-cli',
        grantKey: `many-${index}`,
        githubToken: 'gho_many0000000000000000',
      }),
    );
    await Promise.all(many);
    await lab.commit.write((tx) => sessions.endAllOf(tx, 'github:700', 'revocation'));
    expect(await sessions.listAlive('github:700')).toEqual([]);
    await lab.database
      .updateTable('sessions')
      .set({ github_token: null })
      .where('person', '=', 'github:700')
      .execute();
  });

  test.each(['refresh', 'access'] as const)(
    'revoking the %s token (RFC 7009) is logging out',
    async (kind) => {
      const keys = await makeKeys();
      const tokens = await lab.login(keys);
      const foreign = await lab.post('/oauth/revoke', {
        token: tokens[kind],
        ...(await portal.assertion(lab.url)),
      });
      expect(foreign.status).toBe(200);
      expect((await lab.whoami(keys, tokens.access)).status).toBe(200);
      expect((await lab.post('/oauth/revoke', { token: tokens[kind], client_id: 'beacon-cli' })).status).toBe(
        200,
      );
      expect((await lab.whoami(keys, tokens.access)).status).toBe(401);
      expect((await lab.refresh(keys, tokens.refresh)).answer).toMatchObject({ error: 'invalid_grant' });
    },
  );

  test('a person who is disabled meanwhile gets no further token and cannot use the one they have', async () => {
    const keys = await makeKeys();
    const tokens = await lab.login(keys);
    lab.disabled.add('github:583231');
    expect((await lab.refresh(keys, tokens.refresh)).answer).toMatchObject({ error: 'invalid_grant' });
    expect(await lab.whoami(keys, tokens.access)).toMatchObject({ answer: { error: 'person-disabled' } });
  });

  test('a session keeps what it last read of memberships, until it ends', async () => {
    const keys = await makeKeys();
    const { id } = await sessionOf(keys, (await lab.login(keys)).access);
    const { sessions } = lab.authorization;
    const at = new Date();
    await sessions.writeMemberships(id, '{"teams":["github:7"]}', at);
    expect((await sessions.findAlive(id))?.memberships).toEqual({ text: '{"teams":["github:7"]}', at });
  });
});
