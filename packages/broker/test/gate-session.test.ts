/** What a session makes of what comes back, with a program of ours in the place of ssh. */
import { spawn } from 'node:child_process';
import { formatGateEvent, type GateEvent } from '@beacon/protocol/gate-event';
import { describe, expect, test } from '@jest/globals';
import { type GateSession, NoSession, openGateSession, type SshProcess } from '../src/gate-session.ts';

const GRANT = '01k9z0000000000000000000a0';
const head = { seq: 1, hash: '0'.repeat(64) };
const hello = formatGateEvent({
  event: 'hello',
  version: '1',
  host: 'build-01',
  grant: GRANT,
  until: '2026-11-22T12:00:00.000Z',
  allowlist: '0'.repeat(64),
  head,
});
const closed = formatGateEvent({ event: 'closed', why: 'ended', head });

/** A shell that says these lines, and then does what the script says. */
function shell(lines: readonly (string | Buffer)[], script = '', detached = false): SshProcess {
  const texts = lines.map((line) => Buffer.from(line).toString('base64'));
  const say = texts.map((text) => `printf %s ${text} | base64 -d; echo`).join('\n');
  const child = spawn('/bin/sh', ['-c', `${say}\n${script}`], { stdio: 'pipe', detached });
  child.stdin.on('error', () => undefined);
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  const ended = new Promise<Awaited<SshProcess['ended']>>((resolve) =>
    child.once('close', (status, signal) => resolve({ stderr, status, signal })),
  );
  return { child, stdin: child.stdin, stdout: child.stdout, ended };
}

const expected = { host: 'build-01', grant: GRANT, isBehindJump: false, patienceMs: 5_000 };

async function open(ssh: SshProcess, more: { silenceMs?: number } = {}): Promise<GateSession> {
  const session = await openGateSession(ssh, { ...expected, ...more });
  if (session instanceof NoSession) throw session.error;
  return session;
}

async function take(session: GateSession): Promise<GateEvent[]> {
  const taken: GateEvent[] = [];
  for await (const event of session.events) taken.push(event);
  return taken;
}

describe('a session', () => {
  test('gives all events in order, also to a second loop over them, and ends as the gate says', async () => {
    const started = formatGateEvent({ event: 'started', id: 1, command: 'look' });
    const alive = formatGateEvent({ event: 'alive' });
    const session = await open(shell([hello, started, alive, closed]));
    for await (const event of session.events) {
      expect(event.event).toBe('started');
      break;
    }
    expect((await take(session)).map(({ event }) => event)).toEqual(['alive', 'closed']);
    expect(await session.end).toEqual({ how: 'closed' });
    expect(await take(session)).toEqual([]);
  });

  test('sends lines, and says so when nobody is there to read them', async () => {
    const session = await open(shell([hello], 'read -r line; echo "$line" >&2; exec 0<&-; sleep 0.2'));
    await session.send({ kind: 'end', id: 1 });
    expect(await take(session)).toEqual([]);
    expect(await session.end).toMatchObject({ how: 'lost' });
    await expect(session.send({ kind: 'end', id: 2 })).rejects.toMatchObject({ code: 'session-lost' });
    const asked = {
      command: 'look',
      params: `{"a":"${'x'.repeat(65_536)}"}`,
      salt: Buffer.alloc(32),
      secrets: new Map(),
    };
    await expect(session.send({ kind: 'command', id: 3, asked })).rejects.toMatchObject({
      code: 'request-malformed',
    });
  });

  test.each<[string, (string | Buffer)[], string?]>([
    ['a line that is no event', ['Last login: today']],
    ['an event of no kind', ['{"v":1,"event":"granted"}']],
    ['bytes that are not UTF-8', [Buffer.from([0x7b, 0xff])]],
    ['a line without an end', [], 'head -c 300000 /dev/zero; '],
    ['a second beginning', [hello]],
  ])('is lost with a reason after %s', async (_, lines, script = '') => {
    const ssh = shell([hello, ...lines], `${script}exec sleep 20`);
    const session = await open(ssh);
    expect(await take(session)).toEqual([]);
    expect(await session.end).toEqual({ how: 'lost', reason: expect.stringContaining('no gate of ours') });
    expect(await ssh.ended).toMatchObject({ signal: 'SIGKILL' });
  });

  test.each([
    ['printf \'{"v":1\'; ', 'no gate of ours'],
    ['echo "Timeout, server build-01 not responding." >&2; exit 255', 'stopped answering'],
    ['echo "client_loop: send disconnect: Broken pipe" >&2; exit 255', 'was cut'],
    ['kill -9 $$', 'SIGKILL'],
    ['exit 77', 'without its last word'],
  ])('says how the connection was lost: %s', async (script, reason) => {
    const session = await open(shell([hello], script));
    await take(session);
    expect(await session.end).toEqual({ how: 'lost', reason: expect.stringContaining(reason) });
  });

  test('is lost when the gate says nothing any more, though ssh is there', async () => {
    const session = await open(shell([hello], 'exec sleep 20'), { silenceMs: 50 });
    expect(await take(session)).toEqual([]);
    expect(await session.end).toEqual({ how: 'lost', reason: expect.stringContaining('has said nothing') });
  });

  test('is left at once, whether somebody reads or not', async () => {
    const session = await open(shell([hello], 'exec sleep 20'));
    const reading = take(session);
    session.kill();
    expect(await session.end).toMatchObject({ how: 'lost' });
    expect(await reading).toEqual([]);
  });
});

test('a session that is left takes with it what ssh has started: the ssh to a jump host', async () => {
  // What it started holds the pipes, so they are closed only when that has gone too.
  const ssh = shell([hello], 'sleep 20 & wait', true);
  (await open(ssh)).kill();
  expect(await ssh.ended).toMatchObject({ signal: 'SIGKILL' });
});

describe('no session', () => {
  const refused = (code: string): string => formatGateEvent({ event: 'refused', code, reason: 'because' });

  test.each([
    ['too-many-gates', 'gate-busy', true],
    ['certificate-expired', 'clock-skew', false],
    ['stale-trust', 'gate-refused', false],
    ['certificate-revoked', 'gate-refused', false],
    ['certificate-used', 'gate-refused', false],
  ])('says what a gate refuses: %s', async (reason, code, isBusy) => {
    const session = await openGateSession(shell([refused(reason)], 'exit 77'), expected);
    expect(session).toMatchObject({ error: { code, reason }, isBusy });
  });

  test.each([
    ['another host', hello.replace('build-01', 'build-02')],
    ['another grant', hello.replace(GRANT, GRANT.replace('a0', 'b0'))],
    ['no hello', closed],
  ])('refuses %s', async (_, line) => {
    const session = await openGateSession(shell([line], 'exec sleep 20'), expected);
    expect(session).toMatchObject({ error: { code: 'gate-malformed' } });
  });

  test('does not wait for ever', async () => {
    const session = await openGateSession(shell([], 'exec sleep 20'), { ...expected, patienceMs: 50 });
    expect(session).toMatchObject({ error: { code: 'host-unreachable' }, isBusy: false });
  });
});
