/**
 * Where a person may add runners at GitHub, and how the runners of a place really are: what GitHub lists, what the host
 * says, what runs here have made. Both need the person's token at GitHub, which the CA gives for one request where policy
 * lets the person configure a runner on the host that is named; it is forgotten with the answer.
 */
import { parseScope, type Runners } from '@beacon/github';
import {
  placeList,
  placeQuery,
  type RunnerEntry,
  runnerList,
  runnerQuery,
} from '@beacon/protocol/http/runners';
import type { Route } from '@beacon/server';
import { type BrokerCaller, defineRoute } from './define-route.ts';
import type { Door } from './door.ts';
import { asGitHubFailure } from './github-failure.ts';
import { askHost, type HostQuestionParts } from './host-questions.ts';
import { runnersMade } from './made-runners.ts';
import { offeredOn } from './order-run.ts';
import type { Runs } from './run-order.ts';
import {
  type HostRunner,
  joinRunners,
  type MadeRunner,
  type RunnerCondition,
  readRunnerList,
} from './runner-state.ts';

export interface RunnerRouteParts extends HostQuestionParts {
  readonly runners: Runners;
  readonly runs: Pick<Runs, 'list'>;
}

const TAG = 'runners';
/** The command that a token at GitHub is asked for with. */
const CONFIGURE = 'runner.configure';
const LIST = 'runner.list';
const MOST_RUNS = 200;
const MOST_SCOPES = 1_000;

export function runnerRoutes(parts: RunnerRouteParts, { prefix, read }: Door): readonly Route[] {
  /** Since when names are missing at GitHub, by scope. */
  const absent = new Map<string, ReadonlyMap<string, Date>>();

  return [
    defineRoute({
      method: 'GET',
      path: `${prefix}/places`,
      summary:
        'Lists the repositories and organisations where the caller may add runners; whom to ask where not',
      tag: TAG,
      access: read,
      request: { query: placeQuery },
      responses: { 200: { description: 'Places', schema: placeList } },
      handle: async ({ query: { host }, caller }) => {
        const token = await caller.api.githubToken({ host, command: CONFIGURE });
        const places = await atGitHub(() => parts.runners.places(token));
        return {
          status: 200,
          body: {
            places: places.map(({ scope, kind, mayAdd, reason, isPublic }) => ({
              scope,
              kind,
              may_add: mayAdd,
              ...(reason === undefined ? {} : { reason }),
              is_public: isPublic,
            })),
          },
        };
      },
    }),
    defineRoute({
      method: 'GET',
      path: `${prefix}/runners`,
      summary: 'Lists the runners of a repository or organisation as they really are',
      tag: TAG,
      access: read,
      request: { query: runnerQuery },
      responses: { 200: { description: 'Runners', schema: runnerList } },
      handle: async ({ query: { host, scope }, caller, signal }) => {
        const place = await atGitHub(async () => parseScope(scope));
        const token = await caller.api.githubToken({ host, command: CONFIGURE });
        const [github, downloads, onHost, made] = await Promise.all([
          atGitHub(() => parts.runners.list(token, place)),
          parts.runners.downloads(token, place).catch(() => []),
          runnersOn(parts, { host, caller, signal }),
          madeRunners(parts, { host, scope, person: caller.person }),
        ]);
        const newest = downloads[0]?.version;
        const now = parts.now();
        const key = `${caller.person} ${scope}`;
        const joined = joinRunners({
          github,
          hosts: onHost === undefined ? new Map() : new Map([[host, onHost]]),
          made,
          absent: absent.get(key) ?? new Map(),
          ...(newest === undefined ? {} : { newest: { version: newest } }),
          now,
        });
        if (absent.size >= MOST_SCOPES) absent.clear();
        absent.set(key, joined.absent);
        return { status: 200, body: { runners: joined.runners.map((one) => runnerEntry(one, scope)) } };
      },
    }),
  ];
}

async function atGitHub<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asGitHubFailure(error);
  }
}

/** What the host says of its runners; undefined when it cannot be asked, or the person may not. */
async function runnersOn(
  parts: HostQuestionParts,
  { host, caller, signal }: { host: string; caller: BrokerCaller; signal: AbortSignal },
): Promise<readonly HostRunner[] | undefined> {
  try {
    const offered = (await offeredOn(host, caller.api)).find(({ command }) => command === LIST);
    if (offered === undefined || offered.allowed === 'no') return undefined;
    const [answer] = await askHost(parts, {
      person: caller.person,
      api: caller.api,
      host,
      login: offered.login,
      questions: [{ command: LIST, params: {} }],
      signal,
    });
    return answer?.isDone === true ? readRunnerList(host, answer.output) : undefined;
  } catch {
    // The list of GitHub is worth having without it.
    return undefined;
  }
}

/** The runners that runs of this person have made there and not taken away. */
async function madeRunners(
  { runs }: Pick<RunnerRouteParts, 'runs'>,
  { host, scope, person }: { host: string; scope: string; person: string },
): Promise<readonly MadeRunner[]> {
  const found = runnersMade(await runs.list({ person, host, limit: MOST_RUNS }));
  return found.flatMap((one) => (one.scope === scope ? [one] : []));
}

function runnerEntry(
  { name, host, run, github, finding, detail }: RunnerCondition,
  scope: string,
): RunnerEntry {
  return {
    name,
    ...(host === undefined ? {} : { host }),
    scope,
    ...(run === undefined ? {} : { run }),
    ...(github === undefined
      ? {}
      : {
          github: {
            id: github.id,
            status: github.status,
            busy: github.busy,
            labels: [...github.labels],
            ...(github.ephemeral === undefined ? {} : { ephemeral: github.ephemeral }),
            ...(github.version === undefined ? {} : { version: github.version }),
          },
        }),
    finding,
    ...(detail === undefined ? {} : { detail }),
  };
}
