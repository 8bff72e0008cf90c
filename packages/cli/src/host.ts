/** `beacon host init|check|remove`: reads what was typed, calls `@beacon/host`, prints. */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ClientError, type Outside, parseServerUrl } from '@beacon/client';
import {
  CERTIFICATE_STEP,
  checkHost,
  diffPlan,
  type Finding,
  type FirstContact,
  GITHUB,
  initHost,
  meetCa,
  openMachine,
  type PrintForm,
  parseBrokerAddress,
  parsePersonalLogin,
  parsePool,
  parseRunnerCount,
  parseRunnerSource,
  prepareEnrolment,
  prepareHost,
  printPlan,
  RUNNER_POOL,
  readHostCertificate,
  readNote,
  readPresent,
  removeHost,
  syncHost,
  type Wish,
} from '@beacon/host';
import { isName } from '@beacon/protocol';
import { ProtocolError } from '@beacon/protocol/error';
import { formatHostToken, type HostToken, parseHostToken } from '@beacon/protocol/host-token';
import { fingerprint, formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Json } from './command-options.ts';
import type { Context } from './context.ts';
import { CliError, usageError } from './error.ts';
import { outsideOfMachine } from './system-authorities.ts';

export interface HostPlaceOptions {
  readonly root: string;
}

export interface HostInitOptions extends HostPlaceOptions {
  readonly id?: string;
  readonly rootKey?: string;
  readonly trust?: string;
  readonly ca?: string;
  readonly login?: string;
  readonly tokenFile?: string;
  readonly accounts: readonly string[];
  readonly runners?: string;
  readonly githubUrl?: string;
  readonly runnerDownloads?: string;
  readonly personalLogin: readonly string[];
  /** False for `--no-personal-logins`. */
  readonly personalLogins: boolean;
  readonly brokerAddress: readonly string[];
  /** False for `--no-broker-addresses`. */
  readonly brokerAddresses: boolean;
  readonly from?: string;
  readonly dryRun: boolean;
  readonly print?: PrintForm;
}

export interface HostSyncOptions extends HostPlaceOptions {
  /** Seconds between two; once when absent. */
  readonly every?: string;
  readonly quiet: boolean;
}

export interface HostRemoveOptions extends HostPlaceOptions {
  readonly purge: boolean;
}

type Machine = ReturnType<typeof openMachine>;

const HAS_DEFECTS = 78;
/** The CA holds other records than this host has. */
const ALARM = 77;
/** For each of some five requests; systemd ends the whole after a minute. */
const SYNC_TIMEOUT_MS = 10_000;

export async function hostInit(context: Context, options: HostInitOptions): Promise<number> {
  const { terminal } = context;
  const machine = open(options);
  const token = options.tokenFile === undefined ? undefined : readToken(options.tokenFile);
  if (token !== undefined && !machine.live) {
    throw usageError('an image is enrolled when it starts: leave --token-file out, and see docs/host.md');
  }
  const outside = { ...outsideOfMachine(), now: context.now };
  const { wish, trust } = await meet(context, machine, options, outside, token);
  const enrols = token !== undefined || (wish.ca !== undefined && readHostCertificate(machine) !== undefined);
  const from = options.from ?? ownFolder();
  const plan = prepareHost(machine, {
    wish,
    from,
    trust: trust ?? options.trust,
    now: context.now(),
    enrols,
  });
  const enrolling =
    enrols && machine.live && options.print === undefined
      ? await prepareEnrolment(machine, outside, token?.secret)
      : undefined;
  const prepared = { ...plan, findings: [...plan.findings, ...(enrolling?.findings ?? [])] };
  for (const one of prepared.findings) terminal.talk(describe(one));
  if (options.print !== undefined) {
    for (const line of printPlan(
      prepared,
      options.print,
      token === undefined ? undefined : formatHostToken(token),
    )
      .trimEnd()
      .split('\n'))
      terminal.out(line);
    return 0;
  }
  if (options.dryRun) {
    const steps = enrolling === undefined ? prepared.steps : [...prepared.steps, CERTIFICATE_STEP];
    const lines = diffPlan(machine, steps);
    for (const line of lines) terminal.out(line);
    if (lines.length === 0) terminal.talk('nothing would change');
    if (token !== undefined)
      terminal.talk(`then it would enrol at ${wish.ca} as ${wish.host}, and log in to its own gate`);
    return prepared.findings.some(({ kind }) => kind === 'defect') ? HAS_DEFECTS : 0;
  }
  const enrolment = enrolling === undefined ? {} : { enrolment: enrolling.enrolment };
  await untilStopped((signal) =>
    initHost(machine, prepared, { report: (line) => terminal.out(line), signal, ...enrolment }),
  );
  terminal.talk(`${prepared.wish.host} is a managed host`);
  return 0;
}

/** What is wished for, with the key to pin; and the CA's trust documents, where it is asked for them. */
async function meet(
  { terminal }: Context,
  machine: Machine,
  options: HostInitOptions,
  outside: Outside,
  token: HostToken | undefined,
): Promise<{ readonly wish: Wish; readonly trust: FirstContact['files'] | undefined }> {
  const noted = readNote(machine);
  const rootKey = options.rootKey === undefined ? noted?.rootKey : readKey(options.rootKey);
  const ca = options.ca === undefined ? noted?.ca : parseServerUrl(options.ca);
  if (token !== undefined && ca === undefined) throw usageError('name the CA with --ca https://…');
  const pinned =
    token?.rootKey ?? (rootKey === undefined ? undefined : fingerprint(parsePublicKeyLine(rootKey).key));
  if (ca === undefined || pinned === undefined || options.trust !== undefined) {
    return { wish: readWish(noted, options, rootKey, ca), trust: undefined };
  }
  try {
    const known = noted === undefined ? undefined : readPresent(machine, noted);
    const contact = await meetCa(outside, ca, pinned, known);
    const own = rootKey ?? contact.rootKey;
    if (own !== contact.rootKey)
      throw usageError("the token's root key is not the one of --root-key, or pinned before");
    return { wish: readWish(noted, options, own, ca), trust: contact.files };
  } catch (error) {
    if (!(error instanceof ClientError) || noted === undefined || token !== undefined) throw error;
    terminal.talk(`note   ${ca}: ${error.message}: going on with the trust documents that are here`);
    return { wish: readWish(noted, options, rootKey, ca), trust: undefined };
  }
}

function readToken(file: string): HostToken {
  if (file !== '-' && !existsSync(file))
    throw new CliError('file-missing', 'not-found', `${file} is not there: put the token into it`);
  try {
    return parseHostToken(readFileSync(file === '-' ? 0 : file, 'utf8').trim());
  } catch (error) {
    if (error instanceof ProtocolError) throw usageError(error.message);
    throw error;
  }
}

export async function hostCheck(
  { terminal, now }: Context,
  options: HostPlaceOptions & Json,
): Promise<number> {
  const findings = checkHost(open(options), now());
  for (const one of findings) {
    if (options.json) terminal.json(one);
    else terminal.out(describe(one));
  }
  const defects = findings.filter(({ kind }) => kind === 'defect').length;
  if (!options.json) terminal.talk(defects === 0 ? 'this host is in order' : `${defects} defects`);
  return defects === 0 ? 0 : HAS_DEFECTS;
}

export async function hostSync(context: Context, options: HostSyncOptions): Promise<number> {
  const machine = open(options);
  const { every } = options;
  if (every === undefined) return syncOnce(context, machine, options.quiet);
  if (!/^[1-9][0-9]{0,4}$/.test(every)) throw usageError(`${every} is no number of seconds: try --every 60`);
  await untilStopped(async (signal) => {
    while (!signal.aborted) {
      const beganMs = performance.now();
      await syncOnce(context, machine, true).catch((error: unknown) => {
        if (!(error instanceof Error) || !('code' in error)) throw error;
        context.terminal.talk(`beacon: ${error.message}`);
      });
      const restMs = Number(every) * 1_000 - (performance.now() - beganMs);
      await delay(Math.max(0, restMs), undefined, { signal }).catch(() => undefined);
    }
  });
  return 0;
}

async function syncOnce({ terminal, now }: Context, machine: Machine, isQuiet: boolean): Promise<number> {
  const outside = { ...outsideOfMachine(), now, timeoutMs: SYNC_TIMEOUT_MS };
  const { version, changed, ended, isRenewed, isReported, troubles } = await syncHost(machine, outside);
  if (changed) terminal.talk(`trust ${version} is in force now`);
  else if (!isQuiet) terminal.talk(`trust ${version} is still the newest`);
  for (const keyId of ended) terminal.talk(`ended a session: its certificate ${keyId} is revoked`);
  if (isRenewed) terminal.talk('the host certificate is renewed');
  if (isReported && !isQuiet) terminal.talk('the CA took the report of this host');
  for (const { part, code, message } of troubles) {
    terminal.talk(`${code === 'head-refused' ? 'ALARM' : 'TROUBLE'} ${part}: ${message}`);
  }
  return troubles.some(({ code }) => code === 'head-refused') ? ALARM : 0;
}

export async function hostRemove({ terminal }: Context, options: HostRemoveOptions): Promise<number> {
  await removeHost(open(options), { purge: options.purge, report: (line) => terminal.out(line) });
  terminal.talk('this machine is no managed host any more');
  return 0;
}

function readWish(
  noted: Wish | undefined,
  options: HostInitOptions,
  rootKey: string | undefined,
  ca: string | undefined,
): Wish {
  const host = options.id ?? noted?.host;
  if (host === undefined || !isName('host', host))
    throw usageError('name the host with --id, such as --id build-01');
  const login = options.login ?? noted?.login ?? 'beacon';
  if (!isName('login', login)) throw usageError(`${JSON.stringify(login)} is no login: try --login beacon`);
  if (rootKey === undefined)
    throw usageError('name the public key that signs the trust root with --root-key FILE, or a token');
  if (noted !== undefined && noted.rootKey !== rootKey) {
    throw usageError(
      'this host has pinned another root key: beacon host remove, then init, if that is meant',
    );
  }
  const runners = readRunners(noted, options);
  const pools = new Map(options.accounts.length === 0 ? noted?.pools : options.accounts.map(parsePool));
  const count =
    options.runners === undefined ? noted?.pools.get(RUNNER_POOL) : parseRunnerCount(options.runners);
  if (runners !== undefined && count !== undefined) pools.set(RUNNER_POOL, count);
  const personal = options.personalLogin.map(parsePersonalLogin);
  const broker = options.brokerAddress.map(parseBrokerAddress);
  return {
    host,
    login,
    rootKey,
    pools,
    ca,
    personalLogins: keep(options.personalLogins, personal, noted?.personalLogins),
    brokerAddresses: keep(options.brokerAddresses, broker, noted?.brokerAddresses),
    ...(runners === undefined ? {} : { runners }),
  };
}

function readRunners(noted: Wish | undefined, options: HostInitOptions): Wish['runners'] {
  const { githubUrl, runnerDownloads } = options;
  const before = noted?.runners;
  if (options.runners === undefined && before === undefined) {
    if (githubUrl === undefined && runnerDownloads === undefined) return undefined;
    throw usageError('say how many runners this host is for: --runners 4');
  }
  const { github, downloads } = before ?? GITHUB;
  return {
    github: githubUrl === undefined ? github : parseRunnerSource('--github-url', githubUrl),
    downloads:
      runnerDownloads === undefined ? downloads : parseRunnerSource('--runner-downloads', runnerDownloads),
  };
}

/** What was given; else what there was, unless it is not wanted any more. */
function keep(isWanted: boolean, given: readonly string[], noted: readonly string[] = []): readonly string[] {
  if (!isWanted) return [];
  return given.length === 0 ? noted : [...new Set(given)];
}

function readKey(file: string): string {
  if (!existsSync(file))
    throw new CliError('file-missing', 'not-found', `${file} is not there: name the .pub file`);
  return formatPublicKeyLine(parsePublicKeyLine(readFileSync(file, 'utf8').trimEnd()).key);
}

function open({ root }: HostPlaceOptions): Machine {
  if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new CliError('file-missing', 'not-found', `${root} is no folder: name that of the image`);
  }
  return openMachine(realpathSync(root));
}

/** Where the archive was unpacked: this program is a part of it. */
function ownFolder(): string {
  return dirname(realpathSync(process.argv[1] ?? '.'));
}

function describe({ kind, place, what, remedy }: Finding): string {
  return `${kind === 'defect' ? 'DEFECT' : 'note  '} ${place}: ${what}: ${remedy}`;
}

/** Lets an interruption be heard between two steps, so that they are taken back. */
async function untilStopped(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    await work(stopping.signal);
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}
