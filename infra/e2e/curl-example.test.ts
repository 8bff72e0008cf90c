/** The documented use of the API with curl, run as it stands; what `docs/api.md` shows is that script's text. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { problemKinds } from '@beacon/protocol';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { programOf } from '../demo/checks.ts';
import { approve } from '../demo/login.ts';
import { type Outcome, Stage } from '../demo/stage.ts';

const root = join(import.meta.dirname, '..', '..');
const SCRIPT = join(root, 'docs', 'examples', 'ca-with-curl.sh');
const CODE = /type ([A-Z]{4}-[A-Z]{4})\b/;

let stage: Stage;
let ran: Outcome;

beforeAll(async () => {
  stage = await Stage.open();
  const administrator = await programOf(stage, 'ada');
  await administrator.registerHost({
    id: 'web-01',
    address: '127.0.0.1',
    port: 22,
    logins: [stage.login],
    labels: {},
    pools: ['web'],
    host_key: await makeHostKey(),
  });
  ran = await runScript();
}, 60_000);

afterAll(async () => {
  await stage?.close();
});

describe('docs/examples/ca-with-curl.sh', () => {
  test('runs to its end', () => {
    expect({ status: ran.status, stderr: ran.stderr }).toEqual({ status: 0, stderr: '' });
  });

  test('logs a person in and says who it is', () => {
    expect(answer('session')).toMatchObject({ session: { person: 'github:102', client: 'beacon-cli' } });
  });

  test('gets the decision, the certificate and its record', () => {
    expect(answer('allowed')).toMatchObject({ allowed: true, policies: ['web-team-logs-in'] });
    expect(ran.stdout).toMatch(/Key ID: "beacon\/[a-z0-9]{26}\/github:102"/);
    expect(ran.stdout).toContain(`${stage.login}@web-01`);
    const { records } = answer('records') as { records: string[] };
    expect(records.map((line) => JSON.parse(line) as unknown)).toContainEqual(
      expect.objectContaining({ kind: 'certificate', host: 'web-01' }),
    );
    expect(answer('checkpoint')).toHaveProperty('checkpoint');
  });

  test('revokes it, and ssh-keygen finds it in the list', () => {
    expect(answer('revoked')).toMatchObject({ revoked: [expect.stringMatching(/^\d+$/)] });
    expect(ran.stdout).toContain('the certificate is revoked');
  });

  test('is refused with a problem document that says what is missing', () => {
    expect(answer('type')).toMatchObject({
      type: 'urn:beacon:problem:denied',
      status: 403,
      code: 'policy-denied',
      denial: { missing: [{ kind: 'lifetime', longest_seconds: expect.any(Number) }] },
    });
  });

  test('leaves no session behind', () => {
    expect(ran.stdout.trim().split('\n').at(-1)).toMatch(/^\{"session":"[a-z0-9]{26}","record":/);
  });
});

describe('docs/api.md', () => {
  const script = readFileSync(SCRIPT, 'utf8');
  const page = readFileSync(join(root, 'docs', 'api.md'), 'utf8');
  const blocks = [...page.matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);

  test('shows at least the main parts', () => {
    expect(blocks.length).toBeGreaterThanOrEqual(8);
  });

  test.each(blocks.map((text) => [text.split('\n', 1).join(''), text]))('shows what runs: %s', (_, text) => {
    expect(script).toContain(text);
  });

  test('names every endpoint that the CA has, and no other', async () => {
    const { paths } = (await (await fetch(`${stage.caUrl}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const there = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const cells = [...page.matchAll(/^\| (`[^|]*)\|/gm)].map(([, cell = '']) => cell).join('\n');
    const named = [...cells.matchAll(/`((?:GET|POST|DELETE) \/(?:v1\/|healthz|readyz)[^`]*)`/g)];
    expect(named.map(([, name]) => name).sort()).toEqual(there.sort());
  });
});

test('docs/api.md names refusals by codes and kinds that there are', () => {
  const page = readFileSync(join(root, 'docs', 'api.md'), 'utf8');
  const sources = ['ca', 'server'].map((name) =>
    readFileSync(join(root, 'packages', name, 'src', 'error.ts'), 'utf8'),
  );
  const rows = [...page.matchAll(/^\| `([a-z-]+)` \| \d{3} \| \d\d \| (.*) \|$/gm)];
  expect(rows.map(([, kind]) => kind)).toEqual([...problemKinds]);
  for (const [, kind, codes = ''] of rows) {
    const named = [...codes.matchAll(/`([a-z-]+)`/g)].map(([, code]) => code).filter((code) => code !== kind);
    for (const code of named.filter((name) => name !== 'retry-after')) {
      const line = new RegExp(`^ +'?${code}'?: '${kind}',$`, 'm');
      expect({ code, there: sources.some((source) => line.test(source)) }).toEqual({ code, there: true });
    }
  }
});

async function makeHostKey(): Promise<string> {
  const file = join(stage.folder, 'web-01-key');
  await stage.run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', file]);
  return readFileSync(`${file}.pub`, 'utf8').trim();
}

/** Runs the script; the cookie jar plays lin, who types the code. */
async function runScript(): Promise<Outcome> {
  const env = { ...process.env, CA: stage.caUrl, HOST: 'web-01', LOGIN: stage.login };
  const script = spawn('bash', [SCRIPT], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr, approving] = ['', '', Promise.resolve()];
  script.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  script.stdout.on('data', (data: Buffer) => {
    const [, before] = CODE.exec(stdout) ?? [];
    stdout += data.toString();
    const [, code] = CODE.exec(stdout) ?? [];
    if (before === undefined && code !== undefined) approving = approve(stage.caUrl, 'lin', code);
  });
  const status = await new Promise<number | null>((resolve) => script.on('close', resolve));
  await approving;
  return { status, stdout, stderr };
}

/** The one JSON answer that the script printed with this key in first place. */
function answer(key: string): unknown {
  const at = ran.stdout.indexOf(`{"${key}":`);
  if (at === -1) throw new Error(`no answer begins with ${key}:\n${ran.stdout}`);
  for (let end = ran.stdout.indexOf('}', at); end !== -1; end = ran.stdout.indexOf('}', end + 1)) {
    try {
      return JSON.parse(ran.stdout.slice(at, end + 1)) as unknown;
    } catch {
      // The bracket was not the last one yet.
    }
  }
  throw new Error(`the answer with ${key} has no end`);
}
