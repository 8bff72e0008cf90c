/** `beacon host init|check|remove`: reads what was typed, calls `@beacon/host`, prints. */
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseServerUrl } from '@beacon/client';
import {
  checkHost,
  diffPlan,
  type Finding,
  initHost,
  openMachine,
  type PrintForm,
  parsePool,
  prepareHost,
  printPlan,
  readNote,
  removeHost,
  syncHost,
  type Wish,
} from '@beacon/host';
import { isName } from '@beacon/protocol';
import { formatPublicKeyLine, parsePublicKeyLine } from '@beacon/ssh/public-key';
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
  readonly login: string;
  readonly accounts: readonly string[];
  readonly from?: string;
  readonly dryRun: boolean;
  readonly print?: PrintForm;
}

export interface HostRemoveOptions extends HostPlaceOptions {
  readonly purge: boolean;
}

type Machine = ReturnType<typeof openMachine>;

const HAS_DEFECTS = 78;
/** For each of three requests; systemd ends the whole after a minute. */
const SYNC_TIMEOUT_MS = 15_000;

export async function hostInit(context: Context, options: HostInitOptions): Promise<number> {
  const { terminal } = context;
  const machine = open(options);
  const prepared = prepareHost(machine, {
    wish: readWish(machine, options),
    from: options.from ?? ownFolder(),
    trust: options.trust,
    now: context.now(),
  });
  for (const one of prepared.findings) terminal.talk(describe(one));
  if (options.print !== undefined) {
    for (const line of printPlan(prepared, options.print).trimEnd().split('\n')) terminal.out(line);
    return 0;
  }
  if (options.dryRun) {
    const lines = diffPlan(machine, prepared.steps);
    for (const line of lines) terminal.out(line);
    if (lines.length === 0) terminal.talk('nothing would change');
    return prepared.findings.some(({ kind }) => kind === 'defect') ? HAS_DEFECTS : 0;
  }
  await untilStopped((signal) =>
    initHost(machine, prepared, { report: (line) => terminal.out(line), signal }),
  );
  terminal.talk(`${prepared.wish.host} is a managed host`);
  return 0;
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

export async function hostSync({ terminal, now }: Context, options: HostPlaceOptions): Promise<number> {
  const outside = { ...outsideOfMachine(), now, timeoutMs: SYNC_TIMEOUT_MS };
  const { version, changed } = await syncHost(open(options), outside);
  terminal.talk(changed ? `trust ${version} is in force now` : `trust ${version} is still the newest`);
  return 0;
}

export async function hostRemove({ terminal }: Context, options: HostRemoveOptions): Promise<number> {
  await removeHost(open(options), { purge: options.purge, report: (line) => terminal.out(line) });
  terminal.talk('this machine is no managed host any more');
  return 0;
}

function readWish(machine: Machine, options: HostInitOptions): Wish {
  const noted = readNote(machine);
  const host = options.id ?? noted?.host;
  if (host === undefined || !isName('host', host))
    throw usageError('name the host with --id, such as --id build-01');
  if (!isName('login', options.login))
    throw usageError(`${JSON.stringify(options.login)} is no login: try --login beacon`);
  const rootKey = options.rootKey === undefined ? noted?.rootKey : readKey(options.rootKey);
  if (rootKey === undefined)
    throw usageError('name the public key that signs the trust root with --root-key FILE');
  if (noted !== undefined && noted.rootKey !== rootKey) {
    throw usageError(
      'this host has pinned another root key: beacon host remove, then init, if that is meant',
    );
  }
  const pools = options.accounts.length === 0 ? noted?.pools : new Map(options.accounts.map(parsePool));
  return {
    host,
    login: options.login,
    rootKey,
    pools: pools ?? new Map(),
    ca: options.ca === undefined ? noted?.ca : parseServerUrl(options.ca),
  };
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
