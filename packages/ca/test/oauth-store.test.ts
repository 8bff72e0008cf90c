import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Browser, fieldOf, Lab, makeKeys, makeService } from './authorization-lab.ts';

const portal = await makeService('portal', ['exchange']);
let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ services: [portal.service] });
});
afterAll(() => lab.close());

test('O13, T8: the store, its log and the records hold no token, code, cookie or secret in the clear', async () => {
  const keys = await makeKeys();
  const secrets: string[] = [];
  const browser = new Browser();
  const { deviceCode, userCode } = await lab.beginDevice(['urn:beacon:ca', 'urn:beacon:broker:portal']);
  const form = await lab.travel(browser, `${lab.url}/device`, 'alice');
  secrets.push(fieldOf(form.text, 'xsrf'), ...[...browser.jar.values()].map(({ value }) => value));
  secrets.push(
    decodeURIComponent(browser.cookie('beacon-sign-in') ?? '')
      .slice(2)
      .split('.', 1)
      .join(''),
  );
  await lab.approveDevice(browser, userCode, 'alice');
  secrets.push(...[...browser.jar.values()].map(({ value }) => value));
  const first = await lab.pollDevice(keys, deviceCode);
  const second = await lab.refresh(keys, String(first.answer['refresh_token']), {
    resource: 'urn:beacon:broker:portal',
  });
  const exchanged = await lab.token(keys, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: String(second.answer['access_token']),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    ...(await portal.assertion(lab.url)),
  });
  expect(exchanged.status).toBe(200);
  for (const { answer } of [first, second, exchanged]) {
    secrets.push(String(answer['access_token']));
    if ('refresh_token' in answer) secrets.push(String(answer['refresh_token']));
  }
  secrets.push(deviceCode, userCode, userCode.replace('-', ''), ...lab.standin.state.canaries);
  expect(secrets.length).toBeGreaterThan(12);
  await lab.commit.write((tx) => tx.selectFrom('sessions').select('id').execute());
  const stored = lab.storedBytes();
  // The control: what is not secret is found in these bytes.
  for (const shown of ['github:583231', 'session-began', 'AccessToken'])
    expect(stored.includes(shown)).toBe(true);
  for (const secret of secrets) {
    expect(secret.length).toBeGreaterThanOrEqual(8);
    expect(stored.includes(secret)).toBe(false);
    expect(JSON.stringify(lab.warnings)).not.toContain(secret);
  }
});

test('T8: no address that a browser is sent to carries a token', async () => {
  const keys = await makeKeys();
  const browser = new Browser();
  const seen: string[] = [];
  const request = browser.request.bind(browser);
  browser.request = async (url, init) => {
    seen.push(url);
    return request(url, init);
  };
  const { deviceCode, userCode } = await lab.beginDevice();
  const page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  expect(page.headers.get('referrer-policy')).toBe('no-referrer');
  await lab.approveDevice(browser, userCode, 'alice');
  const { answer } = await lab.pollDevice(keys, deviceCode);
  const tokens = [String(answer['access_token']), String(answer['refresh_token']), deviceCode, userCode];
  tokens.push(...lab.standin.state.tokens.keys());
  for (const url of seen) for (const token of tokens) expect(url).not.toContain(token);
});

test('a sealed artifact does not open in another place', async () => {
  const rows = await lab.database.selectFrom('oauth_artifacts').selectAll().execute();
  const access = rows.filter(({ model }) => model === 'AccessToken');
  const [one, two] = access;
  if (one === undefined || two === undefined) throw new Error('two are needed');
  const keys = await makeKeys();
  const tokens = await lab.login(keys);
  const row = (
    await lab.database.selectFrom('oauth_artifacts').selectAll().where('model', '=', 'AccessToken').execute()
  ).find(({ key }) => !access.some((other) => other.key === key));
  await lab.commit.write((tx) =>
    tx
      .updateTable('oauth_artifacts')
      .set({ content: one.content })
      .where('key', '=', row?.key ?? '')
      .execute(),
  );
  expect((await lab.whoami(keys, tokens.access)).status).toBe(500);
  lab.warnings.length = 0;
});

test('what has expired is forgotten', async () => {
  const { pruneArtifacts } = await import('../src/oauth-store.ts');
  await lab.commit.write((tx) => pruneArtifacts(tx, new Date(Date.now() + 9 * 3_600_000)));
  expect(await lab.database.selectFrom('oauth_artifacts').selectAll().execute()).toEqual([]);
});
