/**
 * What the demo shows: each refusal beside the control that works, with the words of sshd or of the CA. A check is ok when
 * the refusal happened for the reason it should, and its control when the same thing works where nothing is wrong.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CaApi,
  createCaApi,
  credentialsOf,
  discoverCa,
  exportProofKey,
  finishDeviceLogin,
  generateProofKey,
  importProofKey,
  type ObtainedCertificate,
  obtainCertificate,
  startDeviceLogin,
} from '@beacon/client';
import { formatPrivateKey, generateKey } from '@beacon/ssh/key';
import { createSigner } from '@beacon/ssh/signature';
import { runBrokerChecks } from './broker-checks.ts';
import { runGateChecks } from './gate-checks.ts';
import type { GateStage } from './gate-stage.ts';
import { approve, logIn } from './login.ts';
import type { DemoHost, Outcome, Stage } from './stage.ts';

export interface Check {
  readonly ok: boolean;
  readonly control: boolean;
}

export type Report = Record<string, Check>;

type Say = (text: string) => void;

const SHORTEST_LIFETIME_SECONDS = 30;
const EXPIRY_SLACK_MS = 1500;

export interface Shown {
  readonly checks: Report;
  /** What cannot be shown here, and why. */
  readonly leftOut: readonly string[];
  /** One that broker, CA and host have records of. */
  readonly grant: string | undefined;
}

/** What there is to check besides the plain hosts of the stage. */
export interface Checked {
  readonly gates: GateStage;
  readonly api: CaApi;
  readonly brokerUrl: string;
}

/** All checks, in an order in which each builds on what was shown before. */
export async function runChecks(stage: Stage, { gates, api, brokerUrl }: Checked, say: Say): Promise<Shown> {
  const report: Report = {};
  const show = async (name: string, what: string, check: () => Promise<Check>) => {
    say(`\n— ${what}`);
    report[name] = await check();
    say(`  ${report[name].ok && report[name].control ? 'as it should be' : 'NOT AS IT SHOULD BE'}`);
  };
  const [first, second] = stage.hosts;
  if (first === undefined || second === undefined) throw new Error('the demo needs two hosts');

  await show('command_runs', 'lin, of the team that may log in, runs a command on a host', () =>
    commandRuns(stage, say, first),
  );
  const known = await keyAndCertificate(stage, api, first, 'known', 300);
  await show('other_host', `the same certificate on ${second.id}, which trusts the same CA`, () =>
    otherHost(stage, say, known, first, second),
  );
  await show('changed_byte', 'the same certificate with one byte changed', () =>
    changedByte(stage, say, known, first),
  );
  await show('revoked', 'a certificate that was revoked', () => revoked(stage, say, api, known, first));
  const brief = await keyAndCertificate(stage, api, first, 'brief', SHORTEST_LIFETIME_SECONDS);
  const worked = await plainSsh(stage, brief, first);
  const grant = await runBrokerChecks({ stage, gates, brokerUrl }, say, show);
  await runGateChecks(gates, api, say, show);
  await show('expired', `a certificate of ${SHORTEST_LIFETIME_SECONDS} seconds, after its time`, () =>
    expired(stage, say, brief, worked, first),
  );
  await show('outside_team', 'mallory, who is in no team that a policy names', () =>
    outsideTeam(stage, say, first),
  );
  await show('session_ended', 'lin, after an administrator has ended the session', () =>
    sessionEnded(stage, say, first),
  );
  const leftOut = gates.why === undefined ? [] : [`runners, which need a host of one's own: ${gates.why}`];
  return { checks: report, leftOut, grant };
}

async function commandRuns(stage: Stage, say: Say, host: DemoHost): Promise<Check> {
  const ran = await ssh(stage, 'lin', host, ['echo', 'it', 'runs', 'on', host.id]);
  say(`  $ beacon ssh ${host.id} -- echo it runs on ${host.id}\n  ${ran.stdout.trim() || ran.stderr.trim()}`);
  const logged = lastLine(host, 'Accepted publickey');
  say(`  sshd: ${logged}`);
  const failing = await ssh(stage, 'lin', host, ['exit', '7']);
  return {
    ok:
      ran.status === 0 &&
      ran.stdout.trim() === `it runs on ${host.id}` &&
      /ID beacon\/[^ ]+\/github:102 \(serial \d+\)/.test(logged),
    control: failing.status === 7,
  };
}

async function otherHost(
  stage: Stage,
  say: Say,
  pair: KeyPairFiles,
  right: DemoHost,
  wrong: DemoHost,
): Promise<Check> {
  const control = await plainSsh(stage, pair, right);
  const refused = await plainSsh(stage, pair, wrong);
  const words = lastLine(wrong, 'Certificate does not contain an authorized principal');
  say(
    `  ssh on ${right.id}: ${control.status === 0 ? control.stdout.trim() : control.stderr.trim()}\n  sshd of ${wrong.id}: ${words}`,
  );
  return { ok: refused.status === 255 && words !== '', control: control.status === 0 };
}

async function changedByte(stage: Stage, say: Say, pair: KeyPairFiles, host: DemoHost): Promise<Check> {
  const [type, base64, comment] = readFileSync(pair.certificate, 'utf8').trim().split(' ');
  const bytes = Buffer.from(base64 ?? '', 'base64');
  // A byte of the serial: ssh itself reads the certificate happily, only the CA's signature no longer fits.
  const at = bytes.indexOf(pair.obtained.certificate.publicKey.blob.subarray(-32)) + 32 + 7;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  const changed = { ...pair, certificate: join(stage.folder, 'changed-cert.pub') };
  writeFileSync(changed.certificate, `${type} ${bytes.toString('base64')} ${comment}\n`);
  const refused = await plainSsh(stage, changed, host);
  // ssh verifies a certificate when it loads it and offers this one to nobody; its own tools say why.
  const words = await stage.run('ssh-keygen', ['-L', '-f', changed.certificate]);
  const read = await stage.beacon('lin', ['certificate', 'show', changed.certificate]);
  const control = await plainSsh(stage, pair, host);
  say(
    `  ssh: ${lastOf(refused.stderr)}\n  ssh-keygen: ${lastOf(words.stdout + words.stderr)}\n  beacon: ${lastOf(read.stdout)}`,
  );
  return {
    ok: refused.status === 255 && words.status !== 0 && read.status !== 0,
    control: control.status === 0,
  };
}

/** `control` is what the certificate did while it was valid; its time has passed with other checks. */
async function expired(
  stage: Stage,
  say: Say,
  pair: KeyPairFiles,
  control: Outcome,
  host: DemoHost,
): Promise<Check> {
  const waitMs = Math.max(0, pair.obtained.validBefore.getTime() - Date.now()) + EXPIRY_SLACK_MS;
  say(`  it worked before; its end is ${Math.ceil(waitMs / 1000)} s away`);
  await sleep(waitMs);
  const refused = await plainSsh(stage, pair, host);
  const words = lastLine(host, 'expired');
  say(`  sshd: ${words}`);
  return { ok: refused.status === 255 && words !== '', control: control.status === 0 };
}

async function revoked(
  stage: Stage,
  say: Say,
  api: CaApi,
  known: KeyPairFiles,
  host: DemoHost,
): Promise<Check> {
  const pair = await keyAndCertificate(stage, api, host, 'revoked', 300);
  const before = await plainSsh(stage, pair, host);
  const { serial } = pair.obtained.certificate;
  const done = await stage.beacon('lin', [
    'revoke',
    '--serial',
    serial.toString(),
    '--reason',
    'the demo shows it',
  ]);
  await stage.fetchKrl(host);
  const refused = await plainSsh(stage, pair, host);
  const words = lastLine(host, 'revoked');
  const control = await plainSsh(stage, known, host);
  say(`  $ beacon revoke --serial ${serial}\n  ${lastOf(done.stdout + done.stderr)}\n  sshd: ${words}`);
  return {
    ok: before.status === 0 && done.status === 0 && refused.status === 255 && words !== '',
    control: control.status === 0,
  };
}

async function outsideTeam(stage: Stage, say: Say, host: DemoHost): Promise<Check> {
  await logIn(stage, 'mallory');
  const refused = await ssh(stage, 'mallory', host, ['true']);
  say(`  ${refused.stderr.trim().replaceAll('\n', '\n  ')}`);
  const control = await ssh(stage, 'lin', host, ['true']);
  return {
    ok: refused.status === 255 && refused.stderr.includes('github:7001'),
    control: control.status === 0,
  };
}

async function sessionEnded(stage: Stage, say: Say, host: DemoHost): Promise<Check> {
  const control = await ssh(stage, 'lin', host, ['true']);
  const ended = await stage.beacon('ada', [
    'revoke',
    '--person',
    'github:102',
    '--reason',
    'the demo ends the session',
  ]);
  const refused = await ssh(stage, 'lin', host, ['true']);
  say(
    `  $ beacon revoke --person github:102\n  ${lastOf(ended.stdout + ended.stderr)}\n  lin: ${refused.stderr.trim()}`,
  );
  return {
    ok: ended.status === 0 && refused.status === 255 && refused.stderr.includes('login'),
    control: control.status === 0,
  };
}

function ssh(stage: Stage, person: string, host: DemoHost, command: readonly string[]): Promise<Outcome> {
  return stage.beacon(person, ['ssh', host.id, '--', ...command]);
}

export interface KeyPairFiles {
  readonly key: string;
  readonly certificate: string;
  readonly obtained: ObtainedCertificate;
}

/** A certificate in files, as an attacker would hold it who has taken both: asked for by a program of lin's. */
export async function keyAndCertificate(
  stage: Stage,
  api: CaApi,
  host: DemoHost,
  name: string,
  lifetimeSeconds: number,
): Promise<KeyPairFiles> {
  const { privateKey } = generateKey('ssh-ed25519');
  const wish = { host: host.id, login: stage.login, lifetimeSeconds };
  const obtained = await obtainCertificate(api, wish, { signer: createSigner(privateKey) });
  const key = join(stage.folder, `${name}-key`);
  writeFileSync(key, await formatPrivateKey(privateKey), { mode: 0o600 });
  writeFileSync(`${key}-cert.pub`, `${obtained.line}\n`);
  return { key, certificate: `${key}-cert.pub`, obtained };
}

/** Stock ssh with a key and a certificate from files, and nothing else. */
export function plainSsh(
  stage: Stage,
  pair: Pick<KeyPairFiles, 'key' | 'certificate'>,
  host: DemoHost,
): Promise<Outcome> {
  const options = [
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    `CertificateFile=${pair.certificate}`,
    'BatchMode=yes',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
  ].flatMap((option) => ['-o', option]);
  const target = ['-i', pair.key, '-p', String(host.port), `${stage.login}@127.0.0.1`, 'echo', 'accepted'];
  return stage.run('ssh', ['-F', 'none', ...options, ...target], { env: { PATH: process.env['PATH'] } });
}

/** A program of a person's own, logged in by the device grant through the published client package. */
export async function programOf(stage: Stage, person: string): Promise<CaApi> {
  const ca = await discoverCa(stage.caUrl);
  const proofKey = importProofKey(exportProofKey(generateProofKey()));
  const client = { metadata: ca, clientId: 'beacon-cli', proofKey, resources: ['urn:beacon:ca'] };
  const login = await startDeviceLogin(client);
  const [tokens] = await Promise.all([
    finishDeviceLogin(client, login),
    approve(stage.caUrl, person, login.userCode),
  ]);
  return createCaApi(credentialsOf(ca.issuer, proofKey, tokens));
}

function lastLine(host: DemoHost, word: string): string {
  return (
    host
      .log()
      .split('\n')
      .findLast((line) => line.includes(word)) ?? ''
  );
}

function lastOf(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
