/**
 * What GitHub says for parameters that a person left out: the newest runner's version and digest, and for an upgrade the
 * labels and the group of the runner that is replaced. Asked when a run is made, before it is planned, so that policy
 * sees every value. A version without a digest is refused: nothing unverified is ever unpacked.
 */
import {
  type GitHubRunner,
  parseScope,
  type RunnerDownload,
  type RunnerScope,
  type Runners,
} from '@beacon/github';
import { OUR_LABEL } from './built-in-procedures.ts';
import { BrokerError } from './error.ts';
import { asGitHubFailure } from './github-failure.ts';
import { missingFacts } from './plan-procedure.ts';
import type { GitHubFact, Procedure } from './procedure.ts';
import { isMark } from './runner-mark.ts';

type Params = Readonly<Record<string, string>>;

/** GitHub gives these by itself; a second registration gets them anew. */
const GIVEN_LABELS = ['self-hosted', 'linux', 'x64', 'arm64', 'arm'];

/**
 * `params` with what GitHub says for those that are missing; itself where none is. Throws BrokerError `github-…`,
 * `params-malformed` where GitHub has no answer that would do.
 */
export async function completeFromGitHub(
  procedure: Procedure,
  params: Params,
  runners: Runners,
  token: string,
): Promise<Params> {
  const { github } = procedure;
  const missing = missingFacts(procedure, params);
  const place = github === undefined ? undefined : params[github.scope];
  // Without a place nothing can be asked; that it is missing is for the plan to say.
  if (missing.length === 0 || github === undefined || place === undefined) return params;
  try {
    const scope = parseScope(place);
    const complete: Record<string, string> = { ...params };
    const facts = missing.map((name) => factOf(procedure, name));
    if (facts.includes('version') || facts.includes('sha256')) {
      const download = chooseDownload(procedure, params, await runners.downloads(token, scope));
      complete['version'] = download.version;
      complete['sha256'] = download.sha256;
    }
    if (facts.includes('labels') || facts.includes('group')) {
      const name = github.replaces === undefined ? undefined : params[github.replaces];
      if (name === undefined) return complete;
      const old = await runners.findByName(token, scope, name);
      if (old === undefined) {
        throw new BrokerError(
          'params-malformed',
          `GitHub has no runner ${name} at ${place} whose labels the new one could have: give labels and group, or provision a new one`,
        );
      }
      if (facts.includes('labels')) complete['labels'] = labelsOf(old);
      if (facts.includes('group')) complete['group'] = await groupOf(old, scope, runners, token);
    }
    return complete;
  } catch (error) {
    throw asGitHubFailure(error);
  }
}

function factOf({ parameters }: Procedure, name: string): GitHubFact | undefined {
  const whenAbsent = parameters.get(name)?.whenAbsent;
  return whenAbsent?.take === 'github' ? whenAbsent.what : undefined;
}

function chooseDownload(
  { parameters }: Procedure,
  params: Params,
  offered: readonly RunnerDownload[],
): { version: string; sha256: string } {
  const usual = parameters.get('arch')?.whenAbsent;
  const arch = params['arch'] ?? (usual?.take === 'value' ? usual.value : '');
  const here = offered.filter(({ architecture }) => architecture === arch);
  const { version, sha256 } = params;
  if (here.length === 0) {
    throw new BrokerError(
      'params-malformed',
      `GitHub offers no runner for Linux on ${arch}: say arch=x64, arm64 or arm`,
    );
  }
  const found = here.find(
    (one) =>
      (version === undefined || one.version === version) && (sha256 === undefined || one.sha256 === sha256),
  );
  if (found === undefined) {
    const names = here.map((one) => one.version).join(', ');
    throw new BrokerError(
      'params-malformed',
      `GitHub offers version ${names} for ${arch}, not what was asked for: leave version and sha256 out, or give both, as the release notes of that version have them`,
    );
  }
  if (found.sha256 === undefined) {
    throw new BrokerError(
      'params-malformed',
      `GitHub names no SHA-256 for version ${found.version} on ${arch}, and nothing is installed without one: give version and sha256 from the release notes`,
    );
  }
  return { version: found.version, sha256: found.sha256 };
}

function labelsOf({ labels }: GitHubRunner): string {
  const own = labels.filter((label) => !GIVEN_LABELS.includes(label.toLowerCase()) && !isMark(label));
  return own.length === 0 ? OUR_LABEL : own.join(',');
}

async function groupOf(
  { group }: GitHubRunner,
  scope: RunnerScope,
  runners: Runners,
  token: string,
): Promise<string> {
  if (scope.kind === 'repository' || group === undefined) return 'Default';
  const found = (await runners.groups(token, scope.organization)).find(({ id }) => id === group);
  return found?.name ?? 'Default';
}
