import { afterAll, afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { Browser, fieldOf, Lab, makeKeys } from './authorization-lab.ts';
import { passTime } from './clock.ts';

let lab: Lab;
beforeEach(async () => {
  lab = await Lab.start();
});
afterEach(async () => {
  jest.useRealTimers();
  await lab.close();
});
afterAll(() => {
  jest.useRealTimers();
});

/** Signs in and sends a code; the answer is the confirmation page, or why not. */
async function typeCode(browser: Browser, userCode: string) {
  const page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  return browser.request(`${lab.url}/device`, {
    form: { xsrf: fieldOf(page.text, 'xsrf'), user_code: userCode },
  });
}

test('O14: asks for GitHub first, then for the code, then shows who asks, from where, since when and for what', async () => {
  const { userCode, answer } = await lab.beginDevice();
  expect(answer).toMatchObject({ verification_uri: `${lab.url}/device`, expires_in: 600, interval: 5 });
  expect(answer).not.toHaveProperty('verification_uri_complete');
  expect(userCode).toMatch(/^[A-Z]{4}-[A-Z]{4}$/);
  const stranger = await new Browser().request(`${lab.url}/device`);
  expect(stranger.status).toBe(302);
  expect(stranger.location).toContain(`${lab.standin.url}/login/oauth/authorize`);

  const confirm = await typeCode(new Browser(), userCode.toLowerCase());
  expect(confirm.status).toBe(200);
  for (const words of [
    'alice',
    userCode,
    'beacon, the command line',
    '127.0.0.1',
    'node',
    'SSH certificates',
    'Refuse',
  ]) {
    expect(confirm.text).toContain(words);
  }
  expect(confirm.text).toMatch(/20\d\d-\d\d-\d\dT\d\d:\d\d/);
});

test('O14: ignores a code that comes in the link', async () => {
  const { userCode } = await lab.beginDevice();
  const page = await lab.travel(new Browser(), `${lab.url}/device?user_code=${userCode}`, 'alice');
  expect(page.text).toContain('Type the code');
  expect(page.text).not.toContain(userCode);
});

test('O14: a code works once: neither the device code nor the user code is taken again', async () => {
  const keys = await makeKeys();
  const { deviceCode, userCode } = await lab.beginDevice();
  expect((await lab.pollDevice(keys, deviceCode)).answer).toMatchObject({ error: 'authorization_pending' });
  await lab.approveDevice(new Browser(), userCode, 'alice');
  const again = await typeCode(new Browser(), userCode);
  expect(again.status).toBe(400);
  expect(again.text).toContain('used before');
  const first = await lab.pollDevice(keys, deviceCode);
  expect(first.status).toBe(200);
  expect((await lab.pollDevice(keys, deviceCode)).answer).toMatchObject({ error: 'invalid_grant' });
  // RFC 6749 section 4.1.2, for device codes alike: what the first redemption gave ends too.
  expect((await lab.refresh(keys, String(first.answer['refresh_token']))).answer).toMatchObject({
    error: 'invalid_grant',
  });
  expect(await lab.whoami(keys, String(first.answer['access_token']))).toMatchObject({
    answer: { error: 'session-ended' },
  });
});

test('O14: twenty polls at once get one answer', async () => {
  const keys = await makeKeys();
  const { deviceCode, userCode } = await lab.beginDevice();
  await lab.approveDevice(new Browser(), userCode, 'alice');
  const answers = await Promise.all(Array.from({ length: 20 }, () => lab.pollDevice(keys, deviceCode)));
  expect(answers.filter(({ status }) => status === 200).length).toBeLessThanOrEqual(1);
});

test('O14: a code that has expired is refused at the page and at the token endpoint', async () => {
  const keys = await makeKeys();
  const { deviceCode, userCode } = await lab.beginDevice();
  passTime(601_000);
  expect((await typeCode(new Browser(), userCode)).text).toContain('expired');
  expect((await lab.pollDevice(keys, deviceCode)).answer).toMatchObject({ error: 'expired_token' });
});

test('O14: polling too fast is answered slow_down, and the wait grows', async () => {
  const keys = await makeKeys();
  const { deviceCode } = await lab.beginDevice();
  const poll = async () => (await lab.pollDevice(keys, deviceCode)).answer['error'];
  expect(await poll()).toBe('authorization_pending');
  expect(await poll()).toBe('slow_down');
  passTime(5_000);
  expect(await poll()).toBe('slow_down');
  passTime(15_000);
  expect(await poll()).toBe('authorization_pending');
});

test('O14: after five wrong codes the sign-in is over, also for the right code', async () => {
  const { userCode } = await lab.beginDevice();
  const browser = new Browser();
  let page = await lab.travel(browser, `${lab.url}/device`, 'alice');
  for (let i = 0; i < 5; i++) {
    page = await browser.request(`${lab.url}/device`, {
      form: { xsrf: fieldOf(page.text, 'xsrf'), user_code: `BBBB-BBB${'BCDFG'[i]}` },
    });
    expect(page.text).toContain('There is no such code');
  }
  const right = await browser.request(`${lab.url}/device`, {
    form: { xsrf: fieldOf(page.text, 'xsrf'), user_code: userCode },
  });
  expect(right.status).toBe(429);
  expect(lab.standin.state.tokens.size).toBe(0);
});

test('O14: twenty wrong codes from one address close it for a while, whoever signs in', async () => {
  for (let signIn = 0; signIn < 4; signIn++) {
    const browser = new Browser();
    let page = await lab.travel(browser, `${lab.url}/device`, 'bob');
    for (let i = 0; i < 5; i++) {
      page = await browser.request(`${lab.url}/device`, {
        form: { xsrf: fieldOf(page.text, 'xsrf'), user_code: 'BBBB-BBBB' },
      });
    }
  }
  const { userCode } = await lab.beginDevice();
  expect((await typeCode(new Browser(), userCode)).status).toBe(429);
  passTime(601_000);
  const later = await lab.beginDevice();
  expect((await typeCode(new Browser(), later.userCode)).status).toBe(200);
});

test('O14: a burst of wrong codes tries no more of them than one after the other', async () => {
  passTime(1_300_000);
  const burst = async (browser: Browser, xsrf: string, forms: number) => {
    const answers = await Promise.all(
      Array.from({ length: forms }, () =>
        browser.request(`${lab.url}/device`, { form: { xsrf, user_code: 'BBBB-BBBB' } }),
      ),
    );
    return answers.filter(({ text }) => text.includes('There is no such code')).length;
  };
  let tried = 0;
  for (let signIn = 0; signIn < 5; signIn++) {
    const browser = new Browser();
    const page = await lab.travel(browser, `${lab.url}/device`, 'bob');
    const taken = await burst(browser, fieldOf(page.text, 'xsrf'), 12);
    expect(taken).toBe(signIn < 4 ? 5 : 0);
    tried += taken;
  }
  expect(tried).toBe(20);
  passTime(601_000);
});

test('O14: right codes do not count, however many', async () => {
  for (let login = 0; login < 6; login++) {
    const { userCode } = await lab.beginDevice();
    const browser = new Browser();
    const page = await lab.travel(browser, `${lab.url}/device`, 'bob');
    for (let form = 0; form < 4; form++) {
      const xsrf = fieldOf(page.text, 'xsrf');
      const shown = await browser.request(`${lab.url}/device`, { form: { xsrf, user_code: userCode } });
      expect(shown.status).toBe(200);
    }
  }
});

test('O14: a person who refuses ends the code', async () => {
  const keys = await makeKeys();
  const { deviceCode, userCode } = await lab.beginDevice();
  const browser = new Browser();
  const confirm = await typeCode(browser, userCode);
  const refused = await browser.request(`${lab.url}/device`, {
    form: { xsrf: fieldOf(confirm.text, 'xsrf'), user_code: userCode, abort: 'yes' },
  });
  expect(refused.text).toContain('refused');
  expect((await lab.pollDevice(keys, deviceCode)).answer).toMatchObject({ error: 'access_denied' });
});

test('a form from elsewhere or without a sign-in is not taken', async () => {
  const { userCode } = await lab.beginDevice();
  const browser = new Browser();
  await lab.travel(browser, `${lab.url}/device`, 'alice');
  const forged = await browser.request(`${lab.url}/device`, {
    form: { xsrf: '0'.repeat(48), user_code: userCode, confirm: 'yes' },
  });
  expect(forged.status).toBe(400);
  const alone = await new Browser().request(`${lab.url}/device`, {
    form: { xsrf: '', user_code: userCode, confirm: 'yes' },
  });
  expect(alone.status).toBe(400);
  const keys = await makeKeys();
  const { deviceCode } = await lab.beginDevice();
  expect((await lab.pollDevice(keys, deviceCode)).answer).toMatchObject({ error: 'authorization_pending' });
});

test('a device request needs a known client, and a token needs a proof by a key', async () => {
  const unknown = await lab.post('/oauth/device', { client_id: 'beacon-clj' });
  expect(unknown).toMatchObject({ status: 401, answer: { error: 'invalid_client' } });
  expect(
    await lab.post('/oauth/device', { client_id: 'beacon-cli', resource: 'urn:beacon:broker:nobody' }),
  ).toMatchObject({
    status: 400,
    answer: { error: 'invalid_target' },
  });
  const { deviceCode, userCode } = await lab.beginDevice();
  await lab.approveDevice(new Browser(), userCode, 'alice');
  const bare = await lab.post('/oauth/token', {
    grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
    client_id: 'beacon-cli',
    device_code: deviceCode,
  });
  expect(bare).toMatchObject({ status: 400, answer: { error: 'invalid_grant' } });
});

test('behind a TLS proxy cookies are Secure and bound to the host by name, and addresses are the public ones', async () => {
  const proxied = await Lab.start({ issuer: 'https://ca.example' });
  try {
    const browser = new Browser();
    const away = await browser.request(`${proxied.url}/device`, { headers: { host: 'evil.example' } });
    expect(new URL(away.location ?? '').searchParams.get('redirect_uri')).toBe(
      'https://ca.example/sign-in/github/callback',
    );
    expect(browser.setCookies.join()).toMatch(
      /^__Host-beacon-sign-in=[^;]+; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    );
    expect((await proxied.beginDevice()).answer).toMatchObject({
      verification_uri: 'https://ca.example/device',
    });
  } finally {
    await proxied.close();
  }
});
