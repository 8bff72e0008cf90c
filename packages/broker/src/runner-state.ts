/**
 * How runners really are: what GitHub lists, what hosts say of themselves (`runner.list`), and what runs have made, joined
 * by name. That a runner is gone is never believed from one listing, which loses rows when something is removed between
 * two pages: it has to be missing twice, minutes apart. Pure; who asks keeps `absent` from one look to the next.
 */
import type { GitHubRunner } from '@beacon/github';
import type { RunnerEntry } from '@beacon/protocol/http/runners';
import { OUR_LABEL } from './built-in-procedures.ts';

/** A line of `runner.list`. */
export interface HostRunner {
  readonly host: string;
  readonly name: string;
  readonly account: string;
  /** Undefined until it is installed. */
  readonly version: string | undefined;
  /** systemd's word for its service: `active`, `inactive`, `failed`, … */
  readonly service: string;
}

/** A runner that a run of this broker has made. */
export interface MadeRunner {
  readonly name: string;
  readonly host: string;
  readonly run: string;
}

export interface RunnerLook {
  readonly github: readonly GitHubRunner[];
  /** The hosts that were asked, with what they said. */
  readonly hosts: ReadonlyMap<string, readonly HostRunner[]>;
  readonly made: readonly MadeRunner[];
  /** Since when names are missing at GitHub, as the look before left it. */
  readonly absent: ReadonlyMap<string, Date>;
  /** GitHub's newest version, and since when it is known to be. */
  readonly newest?: { readonly version: string; readonly since?: Date };
  readonly now: Date;
}

export type RunnerFinding = RunnerEntry['finding'];

export interface RunnerCondition {
  readonly name: string;
  readonly host: string | undefined;
  readonly run: string | undefined;
  readonly github: GitHubRunner | undefined;
  readonly onHost: HostRunner | undefined;
  readonly finding: RunnerFinding;
  /** What to do; undefined where nothing is to be done. */
  readonly detail: string | undefined;
}

/** How long a runner must be missing at GitHub. */
export const ABSENCE_MS = 2 * 60_000;
/** After a newer version GitHub gives jobs to an older runner for so long, less where a fix is critical. */
export const OUTDATED_AFTER_MS = 30 * 24 * 60 * 60_000;

/** The runners of one scope by name, and what to give to the next look. */
export function joinRunners(look: RunnerLook): {
  readonly runners: readonly RunnerCondition[];
  readonly absent: ReadonlyMap<string, Date>;
} {
  const atGitHub = new Map(look.github.map((one) => [one.name, one]));
  const onHosts = new Map([...look.hosts.values()].flat().map((one) => [one.name, one]));
  const made = new Map(look.made.map((one) => [one.name, one]));
  const absent = new Map<string, Date>();
  // What neither GitHub nor its host has any more was taken away in order.
  const madeStill = [...made.values()].filter(({ host }) => !look.hosts.has(host)).map(({ name }) => name);
  const names = [...new Set([...atGitHub.keys(), ...onHosts.keys(), ...madeStill])].sort();
  const runners = names.map((name) => {
    const github = atGitHub.get(name);
    const onHost = onHosts.get(name);
    const by = made.get(name);
    if (github === undefined) absent.set(name, look.absent.get(name) ?? look.now);
    const host = onHost?.host ?? by?.host;
    const judged =
      github === undefined
        ? judgeAbsent({ name, host, since: absent.get(name) ?? look.now, now: look.now })
        : judgePresent(github, onHost, host, look);
    return { name, host, run: by?.run, github, onHost, ...judged };
  });
  return { runners, absent };
}

type Judged = Pick<RunnerCondition, 'finding' | 'detail'>;

function judgeAbsent(the: { name: string; host: string | undefined; since: Date; now: Date }): Judged {
  if (the.now.getTime() - the.since.getTime() < ABSENCE_MS) {
    return { finding: 'unconfirmed', detail: 'GitHub does not list it: look again in two minutes' };
  }
  return {
    finding: 'orphan-on-host',
    detail: `GitHub has it no more: its one job is done, or somebody deleted it there. runner.retire with name=${the.name} takes it from ${the.host ?? 'its host'}`,
  };
}

function judgePresent(
  github: GitHubRunner,
  onHost: HostRunner | undefined,
  host: string | undefined,
  look: RunnerLook,
): Judged {
  const { name, status, busy } = github;
  const isOurs = github.labels.some((label) => label.toLowerCase() === OUR_LABEL);
  if (status === 'offline' && busy) {
    return {
      finding: 'zombie-busy',
      detail:
        'it is offline and GitHub has it over a job that never ended: cancel that job at GitHub, which may take ten minutes, and then retire it; its name is not used again until then',
    };
  }
  const isMissing = host !== undefined && look.hosts.has(host) && onHost === undefined;
  if (isOurs && status === 'offline' && (isMissing || host === undefined)) {
    return {
      finding: 'orphan-at-github',
      detail: isMissing
        ? `${host} has it no more: runner.retire with name=${name} deletes it at GitHub`
        : 'no run here has made it, and no host that was asked has it: if it is yours, delete it at GitHub (Settings, Actions, Runners)',
    };
  }
  const old = describeOutdated(github.version ?? onHost?.version, look);
  if (busy) return { finding: 'busy', detail: old };
  if (old !== undefined) return { finding: 'outdated', detail: old };
  if (status === 'online') return { finding: 'idle', detail: undefined };
  return { finding: 'offline', detail: isOurs ? whyOffline(onHost) : undefined };
}

function whyOffline(onHost: HostRunner | undefined): string {
  if (onHost === undefined) return 'ask its host: runner.list and runner.status say how it is there';
  if (onHost.service === 'active') {
    return `it runs on ${onHost.host}, and GitHub does not hear it: look at runner.logs, the network and the clock there`;
  }
  return `its service on ${onHost.host} is ${onHost.service}: runner.status says why, runner.start starts it`;
}

function describeOutdated(version: string | undefined, { newest, now }: RunnerLook): string | undefined {
  if (version === undefined || newest === undefined || !isBelow(version, newest.version)) return undefined;
  const { since } = newest;
  const end = since === undefined ? undefined : new Date(since.getTime() + OUTDATED_AFTER_MS);
  const when =
    end === undefined
      ? 'some 30 days after that one came out it is given no jobs'
      : end <= now
        ? 'GitHub may have stopped giving it jobs'
        : `until ${end.toISOString().slice(0, 10)} at the latest it is given jobs`;
  return `it is ${version} and GitHub offers ${newest.version}: ${when}; runner.upgrade replaces it`;
}

function isBelow(version: string, other: string): boolean {
  const [mine, theirs] = [version, other].map((text) => text.split('.').map(Number));
  for (let at = 0; at < 3; at++) {
    const difference = (mine?.[at] ?? 0) - (theirs?.[at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

const LINE = /^([a-z0-9][a-z0-9-]{0,62}) ([a-z_][a-z0-9_-]{0,31}) ([0-9]+[.][0-9]+[.][0-9]+|-) ([a-z-]+)$/;

/** What `runner.list` printed; undefined where it is not that command's output. */
export function readRunnerList(host: string, output: string): HostRunner[] | undefined {
  const lines = output.split('\n').filter((line) => line !== '');
  const read = lines.map((line) => LINE.exec(line));
  return read.some((match) => match === null)
    ? undefined
    : read.map((match): HostRunner => {
        const [, name = '', account = '', version = '-', service = ''] = match ?? [];
        return { host, name, account, version: version === '-' ? undefined : version, service };
      });
}
