/** The documented example of another backend, `docs/examples/backend.ts`, run as it stands against a real CA and a real sshd. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CaApi,
  createProof,
  discoverCa,
  finishDeviceLogin,
  generateProofKey,
  type ObtainedCertificate,
  type ProofKey,
  startDeviceLogin,
  type Tokens,
} from '@beacon/client';
import { formatKnownHost, openAgent } from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createBackend } from '../../docs/examples/backend.ts';
import { Browser } from '../demo/browser.ts';
import { programOf } from '../demo/checks.ts';
import { freePort } from '../demo/free-port.ts';
import { approve, logIn } from '../demo/login.ts';
import { type DemoHost, Stage } from '../demo/stage.ts';

const root = join(import.meta.dirname, '..', '..');
const AUDIENCE = 'urn:beacon:broker:example';

let folder: string;
let url: string;
let stage: Stage;
let host: DemoHost;
let backend: Server;
let administrator: CaApi;
let lin: Program;

/** What a program of a person's holds: a token for the backend, and the key that it is bound to. */
interface Program {
  readonly tokens: Tokens;
  readonly proofKey: ProofKey;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'beacon-example-'));
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const keyFile = join(folder, 'example.jwk');
  stage = await Stage.open(undefined, { services: makeServices(keyFile, `${url}/callback`) });
  backend = await createBackend({ caUrl: stage.caUrl, publicUrl: url, clientId: 'example', keyFile, act });
  await new Promise<void>((resolve) => backend.listen(port, '127.0.0.1', resolve));
  [administrator, lin] = await Promise.all([programOf(stage, 'ada'), programFor('lin'), logIn(stage, 'ada')]);
  host = await stage.addHost('web-01', 'web');
}, 180_000);

afterAll(async () => {
  backend?.closeAllConnections();
  backend?.close();
  await stage?.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a person in a browser', () => {
  test('signs in with code and PKCE, and a command runs on the host in their name', async () => {
    const browser = await signIn('lin');
    const answer = await ask(browser, host.id);
    expect(answer).toEqual({ status: 200, text: 'as lin would\n' });
    expect(host.log()).toMatch(/Accepted publickey .* ID beacon\/[a-z0-9]{26}\/github:102 \(serial \d+\)/);
    const { records } = await administrator.records({ person: 'github:102', limit: '500' });
    expect(records.map((line) => JSON.parse(line) as unknown)).toContainEqual(
      expect.objectContaining({ kind: 'certificate', service: 'example', host: host.id }),
    );
  });

  test('is told why when policy says no', async () => {
    const answer = await ask(await signIn('mallory'), host.id);
    expect(answer.status).toBe(403);
    expect(answer.text).toContain('github:7001');
  });

  test('O2: is not signed in by an answer that belongs to another browser', async () => {
    const mine = new Browser();
    const gitHub = await mine.get(`${url}/login`);
    const other = new Browser();
    await other.get(`${url}/login`);
    const consent = await mine.submit(gitHub, { person: 'lin' });
    const answer = await fetch(new URL(/action="([^"]+)"/.exec(consent.html)?.[1] ?? '', consent.url), {
      method: 'POST',
      redirect: 'manual',
      headers: {
        cookie: cookies(mine, stage.caUrl),
        'content-type': 'application/x-www-form-urlencoded',
        origin: stage.caUrl,
      },
      body: new URLSearchParams({
        xsrf: /name="xsrf" value="([^"]+)"/.exec(consent.html)?.[1] ?? '',
        decision: 'allow',
      }),
    });
    const resume = await fetch(new URL(answer.headers.get('location') ?? '', stage.caUrl), {
      redirect: 'manual',
      headers: { cookie: cookies(mine, stage.caUrl, answer) },
    });
    const callback = resume.headers.get('location') ?? '';
    expect(callback).toContain(`${url}/callback?code=`);
    expect((await other.get(callback)).status).toBe(403);
    expect((await other.get(url)).html).toBe('sign in at /login\n');
  });

  test('is signed out here and at the CA', async () => {
    const browser = await signIn('lin');
    const before = await administrator.sessions('github:102');
    const headers = { cookie: cookies(browser, url), origin: url };
    expect((await fetch(`${url}/logout`, { method: 'POST', headers })).status).toBe(200);
    expect(await ask(browser, host.id)).toMatchObject({ status: 401 });
    expect((await administrator.sessions('github:102')).length).toBe(before.length - 1);
  });
});

describe("a person's program", () => {
  test('hands over a token for this service, which is exchanged, and a command runs in their name', async () => {
    const answer = await hand(lin);
    expect(answer).toEqual({ status: 200, text: 'as lin would\n' });
  });

  test('cannot use that token at the CA itself', async () => {
    const target = `${stage.caUrl}/v1/sessions/current`;
    const response = await fetch(target, { headers: await headersOf(lin, 'GET', target) });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ code: 'token-invalid' });
  });

  test('is refused with a proof that was used, for another request, or by another key', async () => {
    const target = `${url}/api/hosts/${host.id}/${stage.login}`;
    const headers = await headersOf(lin, 'POST', target);
    expect((await fetch(target, { method: 'POST', headers })).status).toBe(200);
    const again = await fetch(target, { method: 'POST', headers });
    expect({ status: again.status, text: await again.text() }).toEqual({
      status: 401,
      text: 'the proof was used before\n',
    });
    expect(await hand(lin, { target: `${url}/api/hosts/other/root` })).toMatchObject({ status: 401 });
    expect(await hand({ ...lin, proofKey: generateProofKey() })).toEqual({
      status: 401,
      text: 'the token is bound to another key\n',
    });
  });

  test('is refused once an administrator has ended the session', async () => {
    await administrator.revoke({ v: 1, by: 'person', value: 'github:102', reason: 'the test ends it' });
    const answer = await hand(lin);
    expect(answer).toMatchObject({ status: 400 });
    expect(answer.text).toContain('session behind the subject_token has ended');
  });
});

/** services.yaml with the one entry that `beacon ca service key` prints, filled in as its comments say. */
function makeServices(keyFile: string, redirectUri: string): string {
  const beacon = join(root, 'packages', 'cli', 'bin', 'beacon.js');
  const made = spawnSync(process.execPath, [beacon, 'ca', 'service', 'key', 'example', '--out', keyFile], {
    encoding: 'utf8',
  });
  if (made.status !== 0) throw new Error(`beacon ca service key failed:\n${made.stderr}`);
  const entry = made.stdout
    .replace(/redirect_uris: \[\].*/, `redirect_uris: [${redirectUri}]`)
    .replace(/may: \[\].*/, 'may: [login, exchange, personal-certificates]');
  return `version: 1\nservices:\n${entry}`;
}

/** What this backend does on the host: one command through the system's ssh, the key in an agent of this process. */
async function act({ certificate, grant, line, signer, host: target }: ObtainedCertificate): Promise<string> {
  const agent = await openAgent({ identities: [{ blob: certificate.blob, comment: grant, signer }] });
  const [certificateFile, knownHosts] = [join(folder, `${grant}-cert.pub`), join(folder, `${grant}-hosts`)];
  const known = target.authorities.map((key) =>
    formatKnownHost({ host: target.id, port: 22, key, isAuthority: true }),
  );
  writeFileSync(certificateFile, `${line}\n`);
  writeFileSync(knownHosts, `${known.join('\n')}\n`);
  const options = {
    BatchMode: 'yes',
    HostKeyAlias: target.id,
    IdentitiesOnly: 'yes',
    IdentityAgent: agent.socketPath,
    IdentityFile: certificateFile,
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: knownHosts,
  };
  const login = certificate.principals[0]?.split('@', 1).join('') ?? '';
  try {
    const { stdout, stderr } = await stage.run('ssh', [
      ...['-F', 'none', '-p', String(target.port)],
      ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
      ...['--', `${login}@${target.address}`, 'echo as lin would'],
    ]);
    return (stdout || stderr).trim();
  } finally {
    await agent.close();
  }
}

async function signIn(person: string): Promise<Browser> {
  const browser = new Browser();
  const gitHub = await browser.get(`${url}/login`);
  const consent = await browser.submit(gitHub, { person });
  const back = await browser.submit(consent, { decision: 'allow' });
  expect(back).toMatchObject({ url: `${url}/`, html: `signed in as ${person}\n` });
  return browser;
}

async function ask(browser: Browser, id: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}/hosts/${id}/${stage.login}`, {
    method: 'POST',
    headers: { cookie: cookies(browser, url), origin: url },
  });
  return { status: response.status, text: await response.text() };
}

/** A program that a person has logged in for the backend's audience, as the command line would be. */
async function programFor(person: string): Promise<Program> {
  const metadata = await discoverCa(stage.caUrl);
  expect(metadata.protectedResources).toContain(AUDIENCE);
  const proofKey = generateProofKey();
  const client = { metadata, clientId: 'beacon-cli', proofKey, resources: [AUDIENCE] };
  const login = await startDeviceLogin(client);
  const [tokens] = await Promise.all([
    finishDeviceLogin(client, login),
    approve(stage.caUrl, person, login.userCode),
  ]);
  return { tokens, proofKey };
}

async function hand(
  program: Program,
  options: { readonly target?: string } = {},
): Promise<{ status: number; text: string }> {
  const target = `${url}/api/hosts/${host.id}/${stage.login}`;
  const headers = await headersOf(program, 'POST', options.target ?? target);
  const response = await fetch(target, { method: 'POST', headers });
  return { status: response.status, text: await response.text() };
}

async function headersOf({ tokens, proofKey }: Program, method: string, target: string) {
  const { accessToken } = tokens;
  const dpop = await createProof(proofKey, { method, url: target, now: new Date(), accessToken });
  return { authorization: `DPoP ${accessToken}`, dpop };
}

/** The jar's cookies for an origin, with those that an answer has just set. */
function cookies(browser: Browser, origin: string, answer?: Response): string {
  const jar = new Map(browser.cookies(origin));
  for (const cookie of answer?.headers.getSetCookie() ?? []) {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
    jar.set(name, value);
  }
  return [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
}
