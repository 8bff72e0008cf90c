/**
 * A runner comes and goes, asked for at the terminal and in a browser, and no secret of it stays anywhere: not in a file of
 * broker, CA, person or host, not in a log, a record or a database, not in the arguments or the environment of a process.
 * Secrets are those that the stand-in ever gave out, those that CA and broker keep sealed, opened here with their keys, and
 * values of secret parameters.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportProofKey } from '@beacon/client';
import { createSealer } from '@beacon/server';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Browser } from '../demo/browser.ts';
import { logIn } from '../demo/login.ts';
import { RunnerStage } from '../demo/runner-stage.ts';
import { CLIENT_SECRET } from '../demo/stage.ts';
import { findLeader } from '../lab/host-processes.ts';
import type { InitHost } from '../lab/init-host.ts';
import { namespacePath } from '../lab/network.ts';
import { whyNoLab } from '../lab/possible.ts';
import { BrokerThief } from './broker-thief.ts';
import { filesLike, filesWith, ProcessWatch, type Seen } from './secret-search.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`canaries in runs are left out: ${why}\n`);

const HOST = 'build-01';
const RUNNER = 'canary-1';
const SCOPE = 'example/app';
/** What a host has of its own; in `/opt` lies also the archive that it was made from. */
const HOST_FOLDERS = [
  'etc',
  'home',
  'opt/beacon',
  'root',
  'run',
  'srv',
  'tmp',
  'usr/lib/beacon',
  'var',
  'dev/shm',
];
const OVER = ['succeeded', 'failed', 'cancelled', 'denied', 'interrupted'];
const TAKE = { summary: 'Take a secret', params: { token: { pattern: '[a-z0-9-]{1,80}', secret: true } } };
/** Tokens and proofs in the form of RFC 7515, and private keys as OpenSSH and PKCS#8 write them. */
const FORMS = [
  'eyJ[A-Za-z0-9_-]{10,}[.]eyJ[A-Za-z0-9_-]{10,}[.][A-Za-z0-9_-]{60,}',
  '-----BEGIN [A-Z ]*PRIVATE KEY-----([\\]n|$)',
];

(why === undefined ? describe : describe.skip)('the secrets of runs', () => {
  let at: RunnerStage;
  let watch: ProcessWatch;
  let browser: Browser;
  const planted = { terminal: newCanary(), browser: newCanary() };
  const said: string[] = [];
  let seen: readonly Seen[] = [];
  let during: readonly string[] = [];
  let secrets: ReadonlySet<string> = new Set();

  beforeAll(async () => {
    at = await RunnerStage.open({ host: HOST, commands: { 'secret.take': TAKE }, lay });
    const { state } = at.stage.standin;
    const there = [...state.runners.repositories.values()].find(({ name }) => name === 'app');
    (there ?? state.runners.addRepository({ owner: 7000, name: 'app' })).roles.set(102, 'admin');
    watch = new ProcessWatch();
    await logIn(at.stage, 'lin');
    browser = await logInAtPortal();
  }, 300_000);
  afterAll(async () => {
    await watch?.stop();
    await at?.close();
  });

  async function logInAtPortal(): Promise<Browser> {
    const made = new Browser();
    const consent = await made.submit(await made.get(`${at.broker.url}/login`), { person: 'lin' });
    expect((await made.submit(consent, { decision: 'allow' })).status).toBe(200);
    return made;
  }

  /** `beacon` as the person types it; all that it says is kept. */
  async function beacon(words: readonly string[], input = ''): Promise<void> {
    const outcome = await at.stage.beacon('lin', [...words, '--broker', at.broker.url], { input });
    said.push(outcome.stdout, outcome.stderr);
    expect({ ...outcome, status: outcome.status }).toMatchObject({ status: 0 });
  }

  /** A run asked for by the portal's page, to its end. */
  async function runInBrowser(order: object): Promise<void> {
    const { url } = at.broker;
    const headers = { cookie: cookieOf(browser, url), origin: url, 'x-beacon-csrf': '1' };
    const posted = await fetch(`${url}/api/runs`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', 'idempotency-key': randomUUID() },
      body: JSON.stringify({ v: 1, host: HOST, ...order }),
    });
    const text = await posted.text();
    expect({ status: posted.status, text }).toMatchObject({ status: 201 });
    const { id } = JSON.parse(text) as { id: string };
    for (let tries = 0; tries < 600; tries++) {
      const now = await (await fetch(`${url}/api/runs/${id}`, { headers })).text();
      const run = JSON.parse(now) as { phase: string };
      if (OVER.includes(run.phase)) {
        said.push(now, await (await fetch(`${url}/api/runs/${id}/events`, { headers })).text());
        expect(run).toMatchObject({ phase: 'succeeded' });
        return;
      }
      await sleep(100);
    }
    throw new Error(`the run ${id} does not end`);
  }

  /** Where the host's files are found from this machine, what it holds in memory included. */
  function hostRoot(): string {
    const leader = findLeader(namespacePath(at.lab.folder, HOST));
    if (leader === undefined) throw new Error('the host does not run');
    return `/proc/${leader}/root`;
  }

  function places(): readonly string[] {
    return [at.stage.folder, ...HOST_FOLDERS.map((folder) => join(hostRoot(), folder))];
  }

  /** Every secret so far, but those that are somebody's to keep in a file. */
  function collect(): ReadonlySet<string> {
    const session = JSON.parse(readFileSync(sessionFile('lin'), 'utf8')) as Record<string, unknown>;
    const cookies = [at.broker.url, at.stage.caUrl].flatMap((url) => [...browser.cookies(url).values()]);
    return new Set(
      [
        ...at.stage.standin.state.canaries,
        CLIENT_SECRET,
        ...Object.values(planted),
        ...cookies.flatMap((cookie) => [cookie, ...cookie.split('.')]),
        ...kept(),
        String(session['access_token']),
        String(session['refresh_token']),
        (session['key'] as { d: string }).d,
        keyIn(join(at.broker.folder, 'keys/service.jwk')),
        keyIn(join(at.stage.folder, 'ca/keys/token_signing.jwk')),
        line(join(at.broker.folder, 'keys/sealing')),
        line(join(at.stage.folder, 'ca/keys/sealing')),
        line(join(at.stage.folder, 'ca/keys/passphrase')),
        line(join(at.stage.folder, 'ca/keys/github_client_secret')),
      ].filter((secret) => secret.length >= 16),
    );
  }

  const sessionFile = (person: string) =>
    join(at.stage.folder, 'home', person, '.local/state/beacon/session.json');

  /** What CA and broker keep sealed of tokens. */
  function kept(): string[] {
    const ca = join(at.stage.folder, 'ca');
    const sealer = createSealer(Buffer.from(line(join(ca, 'keys/sealing')), 'base64'));
    const store = new DatabaseSync(join(ca, 'data/ca.db'), { readOnly: true });
    const rows = store.prepare('select model, key, content from oauth_artifacts').all() as {
      model: string;
      key: string;
      content: string;
    }[];
    store.close();
    const tokens = rows
      .filter(({ model }) => model === 'AccessToken' || model === 'RefreshToken')
      .map(
        ({ model, key, content }) => JSON.parse(String(sealer.open(content, `oauth/${model}/${key}`))).jti,
      );
    expect(tokens.length).toBeGreaterThan(3);
    return [...tokens, ...portalTokens];
  }

  let portalTokens: string[] = [];
  /** With the cookie at hand, as nobody else has it. */
  async function openPortal(): Promise<void> {
    const thief = await BrokerThief.breakIn(at);
    const { portal, refreshToken } = thief.openRow(cookieOf(browser, at.broker.url));
    portalTokens = [...portalTokens, portal.accessToken, refreshToken, exportProofKey(portal.key).d];
  }

  test('T8, L7: a runner is provisioned at the terminal and retired in the browser, with other secrets around it', async () => {
    await openPortal();
    await beacon(['run', HOST, 'secret.take', '--secret', 'token'], `${planted.terminal}\n`);
    await runInBrowser({ command: 'secret.take', params: {}, secrets: { token: planted.browser } });
    await beacon([
      'run',
      HOST,
      '--procedure',
      'runner.provision',
      `scope=${SCOPE}`,
      'mode=stays',
      `name=${RUNNER}`,
    ]);
    const [runner] = [...at.stage.standin.state.runners.runners.values()];
    expect(runner).toMatchObject({ name: RUNNER });
    during = await filesWith([runner?.credential ?? ''], places());
    secrets = collect();
    await runInBrowser({ procedure: 'runner.retire', params: { scope: SCOPE, name: RUNNER } });
    expect(at.stage.standin.state.runners.runners.size).toBe(0);
    await openPortal();
    secrets = new Set([...secrets, ...collect()]);
    seen = await watch.stop();
  }, 300_000);

  test('the runner alone had its credentials, in files of its own that nobody else reads', () => {
    expect(during.length).toBeGreaterThan(0);
    for (const file of during) {
      expect(file).toMatch(/\/opt\/beacon\/runners\/[a-z0-9-]+\/runner\/\.credentials/);
      expect(existing(file)).toBeUndefined();
    }
  });

  test('T8: nothing stays in any file, but each key and token in the one file that is for it', async () => {
    await at.host.script('journalctl --sync');
    const found = await filesWith([...secrets], places());
    const own = [
      'broker/keys/service.jwk',
      'broker/keys/sealing',
      'ca/keys/token_signing.jwk',
      'ca/keys/sealing',
    ];
    const allowed = [...own, 'ca/keys/passphrase', 'ca/keys/github_client_secret'].map((name) =>
      join(at.stage.folder, name),
    );
    expect(found.toSorted()).toEqual([...allowed, sessionFile('ada'), sessionFile('lin')].toSorted());
    for (const file of found) expect((statSync(file).mode & 0o777).toString(8)).toBe('600');
    const journal = await at.host.script('journalctl -a -o export');
    expect([...secrets].filter((secret) => journal.includes(secret))).toEqual([]);
  }, 120_000);

  test('R11: no token, proof or private key in any form lies in a file that is not for it', async () => {
    const found = await filesLike(FORMS, places());
    const strange = found
      .map((file) => file.replace(at.stage.folder, '').replace(hostRoot(), 'host:'))
      .filter(
        (file) =>
          !/^\/ca\/keys\/(user_ca|host_ca|trust_status)$|^\/offline\/root_key$|^host:\/etc\/ssh\/ssh_host_/.test(
            file,
          ),
      );
    expect(strange).toEqual([]);
  }, 120_000);

  test('T8: nothing was shown to a person or stands in an answer', () => {
    const text = said.join('\n');
    expect([...secrets].filter((secret) => text.includes(secret))).toEqual([]);
  });

  test('L7: no process had one in its arguments or its environment, but the registration of the runner', () => {
    // The looks were many, and saw both sides of a run.
    expect(watch.looks).toBeGreaterThan(20);
    expect(seen.some(({ text }) => text.includes('BEACON_GRANT='))).toBe(true);
    expect(seen.some(({ command }) => /^ssh -F none/.test(command) || command.includes('/ssh -F'))).toBe(
      true,
    );
    const found = seen.filter(({ text }) => [...secrets].some((secret) => text.includes(secret)));
    // GitHub's program takes its token there or among its arguments, and in no other way.
    const others = found.filter(({ kind, text }) => kind === 'cmdline' || !isRegistration(text, secrets));
    expect(others.map(({ kind, command }) => `${kind} ${command}`)).toEqual([]);
  });
});

/** Whether the one secret in an environment is the token that config.sh of GitHub's runner reads there. */
function isRegistration(environment: string, secrets: ReadonlySet<string>): boolean {
  const rest = environment.replace(/^ACTIONS_RUNNER_INPUT_TOKEN=.*$/m, '');
  return rest !== environment && ![...secrets].some((secret) => rest.includes(secret));
}

async function lay(host: InitHost): Promise<Record<string, object>> {
  const argv = [await host.command('secret-take', 'read -r token; sleep 1; printf %s "$token" | wc -c')];
  return { 'secret.take': { ...TAKE, argv, timeout_seconds: 30, run_as: host.runsAs } };
}

function newCanary(): string {
  return `canary-${randomBytes(12).toString('hex')}`;
}

function cookieOf(browser: Browser, url: string): string {
  return [...browser.cookies(url)].map(([name, value]) => `${name}=${value}`).join('; ');
}

function line(file: string): string {
  return readFileSync(file, 'utf8').trim();
}

function keyIn(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { d: string }).d;
}

function existing(file: string): string | undefined {
  try {
    statSync(file);
    return file;
  } catch {
    return undefined;
  }
}
