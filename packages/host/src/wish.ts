/**
 * What the operator wants of this machine, and the note of it that stays on the machine: with it `check` and a second
 * `init` know what there should be. Strict, one spelling, root's.
 */
import { ProtocolError } from '@beacon/protocol/error';
import { isName } from '@beacon/protocol/name';
import { parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { ValueReader } from '@beacon/protocol/value-reader';
import { HostError } from './error.ts';
import { parseRunnerSource, type RunnerSource } from './runner-files.ts';

export interface Wish {
  readonly host: string;
  readonly login: string;
  /** The key that signs the trust root, one line without a comment. */
  readonly rootKey: string;
  /** Pools of accounts for `run_as`: name and how many. */
  readonly pools: ReadonlyMap<string, number>;
  /** Where `sync` asks; undefined where trust documents are carried by hand. */
  readonly ca: string | undefined;
  /** Logins that persons enter by `beacon ssh`; none unless named. */
  readonly personalLogins?: readonly string[];
  /** Where the broker connects from, so that sshd does not punish it for what others sent it. */
  readonly brokerAddresses?: readonly string[];
  /** It is to run GitHub's runners, in accounts of the pool `beacon-r`. */
  readonly runners?: RunnerSource;
}

/** The note: the wish, and the digests of the files of the archive that were put in place. */
export interface Note extends Wish {
  readonly payload: ReadonlyMap<string, string>;
  /** The addresses that the drop-in exempts from sshd's penalties. */
  readonly exempt: readonly string[];
}

export const NOTE = '/var/lib/beacon-host/note.json';
const MOST_POOLS = 16;
const MOST_IN_POOL = 100;
const MOST_LISTED = 100;
const MOST_CARRIED = 64;
const SHA256 = /^[0-9a-f]{64}$/;

export function formatNote(note: Note): string {
  return `${JSON.stringify({
    v: 1,
    host: note.host,
    login: note.login,
    root_key: note.rootKey,
    pools: Object.fromEntries(note.pools),
    ...(note.ca === undefined ? {} : { ca: note.ca }),
    ...spellList('personal_logins', note.personalLogins),
    ...spellList('broker_addresses', note.brokerAddresses),
    ...spellList('exempt', note.exempt),
    ...(note.runners === undefined ? {} : { runners: note.runners }),
    payload: Object.fromEntries(note.payload),
  })}\n`;
}

/** Throws HostError `state-damaged`. */
export function parseNote(bytes: Uint8Array): Note {
  try {
    const top = new ValueReader('host-identity-malformed', 'note', parseStrictJsonBytes(bytes));
    const read = top.members(
      ['v', 'host', 'login', 'root_key', 'pools', 'payload'],
      ['ca', 'personal_logins', 'broker_addresses', 'exempt', 'runners'],
    );
    if (read.v.value !== 1) throw read.v.refusal('it must be 1');
    return {
      host: read.host.name('host'),
      login: read.login.name('login'),
      rootKey: read.root_key.text(8_192),
      pools: new Map(read.pools.entries(MOST_POOLS).map(([name, count]) => [name, readPool(name, count)])),
      ca: read.ca?.text(2_048),
      personalLogins: (read.personal_logins?.list(MOST_LISTED) ?? []).map((one) => one.name('login')),
      brokerAddresses: (read.broker_addresses?.list(MOST_LISTED) ?? []).map((one) => one.text(64)),
      exempt: (read.exempt?.list(MOST_LISTED) ?? []).map((one) => one.text(64)),
      ...(read.runners === undefined ? {} : { runners: readRunners(read.runners) }),
      payload: new Map(
        read.payload.entries(MOST_CARRIED).map(([name, digest]) => [name, readDigest(digest)]),
      ),
    };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new HostError(
      'state-damaged',
      `${NOTE} is damaged: ${error.message}: remove it, and call beacon host init as the first time`,
      {
        cause: error,
      },
    );
  }
}

/** `name=count`, such as `beacon-r=4`. Throws HostError `usage`. */
export function parsePool(text: string): [name: string, count: number] {
  const [, name = '', digits = ''] = /^([a-z_][a-z0-9_-]{0,27})=([1-9][0-9]{0,2})$/.exec(text) ?? [];
  const count = Number(digits);
  if (name === '' || count > MOST_IN_POOL || !isName('login', name)) {
    throw new HostError(
      'usage',
      `${JSON.stringify(text)} is no pool: write NAME=COUNT, such as beacon-r=4; at most ${MOST_IN_POOL}`,
    );
  }
  return [name, count];
}

function spellList(name: string, list: readonly string[] = []): object {
  return list.length === 0 ? {} : { [name]: list };
}

function readPool(name: string, count: ValueReader): number {
  if (!isName('login', name)) throw count.refusal('its key is not the name of a pool');
  return count.integer(1, MOST_IN_POOL);
}

function readRunners(entry: ValueReader): RunnerSource {
  const { github, downloads } = entry.members(['github', 'downloads']);
  return {
    github: parseRunnerSource('runners.github', github.text(2_048)),
    downloads: parseRunnerSource('runners.downloads', downloads.text(2_048)),
  };
}

function readDigest(digest: ValueReader): string {
  const text = digest.text(64);
  if (!SHA256.test(text)) throw digest.refusal('it must be a SHA-256 in lower-case hex');
  return text;
}
