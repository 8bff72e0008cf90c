/**
 * Asking sshd itself (OPENSSH.md): which version it is, where its configuration includes drop-ins, whether a
 * configuration with ours in it is accepted, and what is in force for a login. The candidate is tried in a copy of the
 * main file that includes the same drop-ins in the same order, so that nothing below /etc changes for a try.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Directive, DROP_IN } from './drop-in.ts';
import { readIfThere } from './durable-file.ts';
import type { Machine } from './machine.ts';

export const SSHD_CONFIG = '/etc/ssh/sshd_config';
const FOLDER = '/etc/ssh/sshd_config.d';
const TRIAL = '/run/beacon-host-trial';
/** Where a login comes from in the questions; documentation addresses (RFC 5737). */
const FROM = 'host=client.invalid,addr=192.0.2.1,laddr=192.0.2.2,lport=22';

export type SshdVersion = readonly [major: number, minor: number];

/** Where the main file includes the folder of drop-ins. */
export type Inclusion =
  | { readonly kind: 'found'; readonly line: number }
  | { readonly kind: 'missing' }
  | { readonly kind: 'in-match'; readonly line: number; readonly match: string };

/** What sshd says of a configuration for a login: its settings, or why it refuses. */
export type Effective =
  | { readonly settings: ReadonlyMap<string, readonly string[]> }
  | { readonly refusal: string };

export function readSshdVersion(machine: Machine, sshd: string): SshdVersion | undefined {
  // Older ones know no -V, and say their version with how they are to be called.
  const { stdout, stderr } = machine.run([sshd, '-V']);
  const [, major, minor] = /OpenSSH_(\d+)\.(\d+)/.exec(`${stdout}${stderr}`) ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}

export function findInclusion(config: string): Inclusion {
  let match: string | undefined;
  for (const [at, text] of config.split('\n').entries()) {
    const [keyword = '', ...values] = words(text);
    if (keyword === 'match') match ??= text.trim();
    if (keyword !== 'include' || !values.some(isOurFolder)) continue;
    if (match !== undefined) return { kind: 'in-match', line: at + 1, match };
    return { kind: 'found', line: at + 1 };
  }
  return { kind: 'missing' };
}

/** What would be in force for `login` with `dropIn` as Beacon's; as it stands where that is undefined. */
export function tryDropIn(
  machine: Machine,
  sshd: string,
  config: string,
  dropIn: string | undefined,
  login: string,
): Effective {
  const folder = machine.at(TRIAL);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // In an image /run may be empty, and sshd wants its own folder there.
  mkdirSync(machine.at('/run/sshd'), { recursive: true, mode: 0o755 });
  try {
    if (dropIn !== undefined) writeFileSync(join(folder, 'beacon.conf'), dropIn);
    writeFileSync(join(folder, 'sshd_config'), candidate(machine, config, dropIn !== undefined));
    return askSshd(machine, sshd, login, `${TRIAL}/sshd_config`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What is in force for `login` now. Changes nothing. */
export function askSshd(machine: Machine, sshd: string, login: string, file = SSHD_CONFIG): Effective {
  const test = machine.run([sshd, '-t', '-f', file]);
  if (test.status !== 0) return { refusal: firstLines(test.stderr) };
  const { status, stdout, stderr } = machine.run([sshd, '-T', '-f', file, '-C', `user=${login},${FROM}`]);
  if (status !== 0) return { refusal: firstLines(stderr) };
  const settings = new Map<string, string[]>();
  for (const line of stdout.split('\n')) {
    const space = line.indexOf(' ');
    if (space < 0) continue;
    const keyword = line.slice(0, space);
    settings.set(keyword, [...(settings.get(keyword) ?? []), line.slice(space + 1)]);
  }
  return { settings };
}

/** The optional directives that this sshd does not know, lower case, found by asking it. */
export function unknownDirectives(
  machine: Machine,
  sshd: string,
  config: string,
  directives: readonly Directive[],
): string[] {
  return directives
    .filter(({ optional }) => optional)
    .filter(({ keyword, value }) => {
      const tried = tryDropIn(
        machine,
        sshd,
        config,
        `Match User nobody\n    ${keyword} ${value}\n`,
        'nobody',
      );
      return 'refusal' in tried && tried.refusal.toLowerCase().includes(keyword.toLowerCase());
    })
    .map(({ keyword }) => keyword.toLowerCase());
}

/** The optional directives that are not in what `sshd -T` prints, lower case: this sshd does not know them. */
export function unprintedDirectives(
  settings: ReadonlyMap<string, readonly string[]> | undefined,
  directives: readonly Directive[],
): string[] {
  if (settings === undefined) return [];
  return directives
    .filter(({ optional, keyword }) => optional && !settings.has(keyword.toLowerCase()))
    .map(({ keyword }) => keyword.toLowerCase());
}

export interface Difference {
  readonly keyword: string;
  readonly expected: string;
  readonly found: string;
}

/** Where what is in force is not what the drop-in says. */
export function differences(
  settings: ReadonlyMap<string, readonly string[]>,
  directives: readonly Directive[],
): Difference[] {
  return directives.flatMap(({ keyword, effective }) => {
    const found = settings.get(keyword.toLowerCase())?.join(' ');
    // What is `none` by default is not printed by every version.
    if (found === effective || (found === undefined && effective === 'none')) return [];
    return [{ keyword, expected: effective, found: found ?? 'nothing' }];
  });
}

/** The drop-ins and the main file, in the order in which sshd reads them, with their texts. */
export function configurationFiles(machine: Machine): { readonly path: string; readonly text: string }[] {
  return [...dropIns(machine), SSHD_CONFIG].map((path) => ({
    path,
    text: readIfThere(machine.at(path))?.toString('utf8') ?? '',
  }));
}

/** The file and line that sets `keyword` otherwise than Beacon's drop-in does; before it, if there is one. */
export function whoSets(machine: Machine, keyword: string): string | undefined {
  for (const { path, text } of configurationFiles(machine)) {
    if (path === DROP_IN) continue;
    const at = text.split('\n').findIndex((line) => words(line)[0] === keyword.toLowerCase());
    if (at >= 0) return `${path}, line ${at + 1}`;
  }
  return undefined;
}

function candidate(machine: Machine, config: string, withOurs: boolean): string {
  const ours = DROP_IN;
  return config
    .split('\n')
    .map((line) => {
      const [keyword, ...patterns] = words(line, false);
      if (keyword?.toLowerCase() !== 'include' || !patterns.some(isOurFolder)) return line;
      return patterns
        .flatMap((pattern) => {
          if (!isOurFolder(pattern)) return [`Include ${pattern}`];
          const others = dropIns(machine).filter((path) => path !== ours);
          const all = withOurs ? [...others, ours].sort() : others;
          return all.map((path) => `Include ${path === ours ? `${TRIAL}/beacon.conf` : path}`);
        })
        .join('\n');
    })
    .join('\n');
}

/** As sshd's own pattern finds them: by the bytes of their names, without hidden ones. */
function dropIns(machine: Machine): string[] {
  let names: string[];
  try {
    names = readdirSync(machine.at(FOLDER));
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith('.conf') && !name.startsWith('.'))
    .sort()
    .map((name) => join(FOLDER, name));
}

function isOurFolder(pattern: string): boolean {
  return /^"?(\/etc\/ssh\/)?sshd_config\.d\/\*\.conf"?$/.test(pattern);
}

/** The words of a line without its comment; the keyword in lower case unless told. */
function words(line: string, lower = true): string[] {
  const [keyword = '', ...values] = line
    .trim()
    .replace(/^#.*/, '')
    .replace(/\s*=\s*|\s+/, ' ')
    .split(/\s+/)
    .filter((word) => word !== '');
  return keyword === '' ? [] : [lower ? keyword.toLowerCase() : keyword, ...values];
}

function firstLines(text: string): string {
  return text.trim().split('\n').slice(0, 3).join('; ').replaceAll(`${TRIAL}/beacon.conf`, 'the drop-in');
}
