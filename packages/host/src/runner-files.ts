/**
 * What a host has more where it is to run GitHub's runners (docs/runner.md): the commands, the unit of a runner, the
 * entries of the allowlist, and a pool of accounts. Names and texts; the entries go into the operator's own list beside
 * what is there, by `runner-entries.ts`.
 */
import { HostError } from './error.ts';

/** Where runners register, and where their programs are fetched. */
export interface RunnerSource {
  readonly github: string;
  readonly downloads: string;
}

export const GITHUB: RunnerSource = {
  github: 'https://github.com',
  downloads: 'https://github.com/actions/runner/releases/download',
};

/** The pool of accounts that the entries name. */
export const RUNNER_POOL = 'beacon-r';
export const RUNNER_UNIT = 'beacon-runner@.service';
export const RUNNER_LIST = 'runner-allowlist.json';
export const RUNNER_FOLDER = '/opt/beacon/runners';
/** As they lie in the archive and below /usr/lib/beacon. */
export const RUNNER_COMMANDS = [
  'account',
  'configure',
  'fetch',
  'install',
  'list',
  'logs',
  'preflight',
  'remove',
  'start',
  'status',
  'stop',
  'upgrade',
].map((name) => `commands/runner-${name}`);

const ADDRESS = /^https?:\/\/[A-Za-z0-9.-]+(:[0-9]{1,5})?(\/[A-Za-z0-9._~-]+)*$/;
const MOST_RUNNERS = 100;

/** An address as it goes into the entries, without a slash at its end. Throws HostError `usage`. */
export function parseRunnerSource(option: string, text: string): string {
  const address = text.replace(/\/$/, '');
  if (ADDRESS.test(address) && URL.canParse(address)) return address;
  throw new HostError('usage', `${option} ${text} is no address: write it as https://github.example.com`);
}

/** How many runners a host has room for. Throws HostError `usage`. */
export function parseRunnerCount(text: string): number {
  const count = Number(text);
  if (/^[1-9][0-9]{0,2}$/.test(text) && count <= MOST_RUNNERS) return count;
  throw new HostError('usage', `--runners ${text} is no number from 1 to ${MOST_RUNNERS}`);
}

/** The entries that ship, with this host's addresses. */
export function localize(shipped: Buffer, source: RunnerSource): Buffer {
  const spell = (from: string, to: string) => (text: string) =>
    text.replaceAll(JSON.stringify(from), () => JSON.stringify(to));
  const text = spell(
    GITHUB.downloads,
    source.downloads,
  )(spell(GITHUB.github, source.github)(shipped.toString('utf8')));
  return Buffer.from(text);
}
