import { parseRecord } from '@beacon/protocol/record';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Browser, fieldOf, Lab, makeKeys, makeService } from './authorization-lab.ts';

const portal = await makeService('portal', ['exchange']);
const EXCHANGE = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
};
let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ services: [portal.service] });
});
afterAll(() => lab.close());

async function refusals() {
  const rows = await lab.database.selectFrom('records').select('line').orderBy('seq').execute();
  return rows.map(({ line }) => parseRecord(line)).filter(({ kind }) => /refused$/.test(kind));
}

/** The records of refusals that `work` left. */
async function leftBy(work: () => Promise<unknown>) {
  const before = (await refusals()).length;
  await work();
  return (await refusals()).slice(before);
}

test('T2, T4: what the token endpoint refuses to a service that has proven itself leaves one record', async () => {
  const keys = await makeKeys();
  const form = { ...EXCHANGE, subject_token: 'no-token-at-all' };
  const left = await leftBy(async () => {
    const refused = await lab.token(keys, { ...form, ...(await portal.assertion(lab.url)) });
    expect(refused).toMatchObject({ status: 400, answer: { error: 'invalid_request' } });
  });
  expect(left).toHaveLength(1);
  expect(left[0]).toMatchObject({
    kind: 'refused',
    service: 'portal',
    facts: { code: 'invalid_request', method: 'POST', path: '/oauth/token' },
  });
  expect(JSON.stringify(left)).not.toContain('no-token-at-all');
});

test('T4: a refresh token that was used, or is shown with another key, leaves one record that names the person', async () => {
  const keys = await makeKeys();
  const thief = await makeKeys();
  const { refresh } = await lab.login(keys);
  const stolen = await leftBy(async () => expect((await lab.refresh(thief, refresh)).status).toBe(400));
  expect(stolen).toHaveLength(1);
  expect(stolen[0]).toMatchObject({
    person: 'github:583231',
    service: 'beacon-cli',
    facts: { code: 'invalid_grant' },
  });
  expect((await lab.refresh(keys, refresh)).status).toBe(200);
  const again = await leftBy(async () => expect((await lab.refresh(keys, refresh)).status).toBe(400));
  expect(again).toMatchObject([
    { person: 'github:583231', facts: { code: 'invalid_grant', why: 'refresh token already used' } },
  ]);
  expect(JSON.stringify([...stolen, ...again])).not.toContain(refresh);
});

test('T4: strangers, and who only has to wait, leave no record', async () => {
  const keys = await makeKeys();
  const other = await makeService('portal', ['exchange']);
  const { deviceCode } = await lab.beginDevice();
  expect(
    await leftBy(async () => {
      const assertion = await other.assertion(lab.url);
      expect((await lab.token(keys, { ...EXCHANGE, subject_token: 'x', ...assertion })).status).toBe(401);
      expect((await lab.refresh(keys, 'A'.repeat(43))).status).toBe(400);
      expect((await lab.pollDevice(keys, deviceCode)).answer).toEqual(
        expect.objectContaining({ error: 'authorization_pending' }),
      );
    }),
  ).toEqual([]);
});

test('O14: who typed five wrong codes leaves one record with the person', async () => {
  const browser = new Browser();
  let page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  const type = async (user_code: string) => {
    page = await browser.request(`${lab.url}/device`, {
      form: { xsrf: fieldOf(page.text, 'xsrf'), user_code },
    });
  };
  const left = await leftBy(async () => {
    for (const last of 'BCDFG') await type(`BBBB-BBB${last}`);
    await type('BBBB-BBBH');
  });
  expect(page.status).toBe(429);
  expect(left).toMatchObject([
    { kind: 'sign-in-refused', person: 'github:583231', facts: { code: 'codes-wrong' } },
  ]);
});

describe('when the store cannot note that something was used', () => {
  /** What each way gives while changes to these rows of the store fail, and once they do not. */
  async function without(when: string, ask: () => Promise<{ status: number; answer: object }>) {
    await lab.breakTable('oauth_artifacts', when);
    try {
      const broken = await ask();
      expect(broken.status).toBeGreaterThanOrEqual(500);
      expect(broken.answer).not.toHaveProperty('access_token');
      expect(broken.answer).not.toHaveProperty('refresh_token');
    } finally {
      await lab.mendTable('oauth_artifacts');
    }
    lab.warnings.length = 0;
    return ask();
  }

  test('T5: a device code gives no token, and later exactly one', async () => {
    const keys = await makeKeys();
    const { deviceCode, userCode } = await lab.beginDevice();
    await lab.approveDevice(new Browser(), userCode, 'alice');
    const poll = () => lab.pollDevice(keys, deviceCode);
    expect((await without("NEW.model = 'DeviceCode'", poll)).status).toBe(200);
    expect((await poll()).status).toBe(400);
  });

  test('T5: a refresh token gives no token, and later exactly one', async () => {
    const keys = await makeKeys();
    const { refresh } = await lab.login(keys);
    const renew = () => lab.refresh(keys, refresh);
    expect((await without("NEW.model = 'RefreshToken'", renew)).status).toBe(200);
    expect((await renew()).status).toBe(400);
  });

  test('T5: a proof or an assertion of a service is not taken for a new one', async () => {
    const keys = await makeKeys();
    const tokens = await lab.login(keys, 'bob', ['urn:beacon:ca', 'urn:beacon:broker:portal']);
    const { answer } = await lab.refresh(keys, tokens.refresh, { resource: 'urn:beacon:broker:portal' });
    const subject_token = String(answer['access_token']);
    const exchange = async () =>
      lab.token(keys, { ...EXCHANGE, subject_token, ...(await portal.assertion(lab.url)) });
    expect((await without("NEW.model = 'ReplayDetection'", exchange)).status).toBe(200);
    const assertion = await portal.assertion(lab.url);
    const again = () => lab.token(keys, { ...EXCHANGE, subject_token, ...assertion });
    expect((await again()).status).toBe(200);
    expect(await again()).toMatchObject({ status: 401, answer: { error: 'invalid_client' } });
  });
});

test('T5: a refusal that cannot be recorded is no refusal of the caller, and gives nothing', async () => {
  const keys = await makeKeys();
  await lab.breakTable('records');
  try {
    const answer = await lab.token(keys, {
      ...EXCHANGE,
      subject_token: 'x',
      ...(await portal.assertion(lab.url)),
    });
    expect(answer).toMatchObject({ status: 503, answer: { error: 'temporarily_unavailable' } });
  } finally {
    await lab.mendTable('records');
    lab.warnings.length = 0;
  }
});
