/**
 * Self-hosted runners of repositories and organisations, asked for with a person's own token: registration tokens, what
 * is there, removal, what can be downloaded, groups, and where the person may add runners. A runner is concluded to be
 * gone only from the answer about itself while its place answers: lists lose rows when something is removed between two
 * pages, and 404 is also GitHub's answer to a token that may not see the place.
 */
import { configuration, parseAddress, refuseNoToken } from './address.ts';
import { readList } from './answer.ts';
import { createCircuit } from './circuit.ts';
import { type Conversation, createConnection } from './connection.ts';
import { GitHubError } from './error.ts';
import type { GitHubSettings } from './github.ts';
import {
  type GitHubRunner,
  type RegistrationToken,
  type RunnerDownload,
  type RunnerGroup,
  readDownload,
  readGroup,
  readRegistrationToken,
  readRunner,
  readTotal,
} from './runner-answer.ts';
import { explain } from './runner-fault.ts';
import { askPlaces, type RunnerPlace } from './runner-places.ts';
import { type RunnerScope, runnersOf } from './runner-scope.ts';

export type RunnersSettings = Omit<GitHubSettings, 'clientId' | 'clientSecret' | 'provider'> & {
  readonly provider?: string;
};

/** Everything rejects with GitHubError; `not-found` says that there is no such place, or none that the person may see. */
export interface Runners {
  /** Good for an hour for every runner of the scope, so a secret. Never the same twice; one that nobody used just ends. */
  registrationToken(token: string, scope: RunnerScope): Promise<RegistrationToken>;
  /** All of them. One that is not listed may be there all the same: `get` tells. */
  list(token: string, scope: RunnerScope): Promise<readonly GitHubRunner[]>;
  /** The runner of exactly that name, as it stands now. */
  findByName(token: string, scope: RunnerScope, name: string): Promise<GitHubRunner | undefined>;
  /** Undefined when it is not there, or not any more. */
  get(token: string, scope: RunnerScope, id: number): Promise<GitHubRunner | undefined>;
  /**
   * `removed` and `gone` (nothing was there) mean that it takes no job any more; `busy`, that it is in the middle of one
   * and stays. Where no answer was heard the error says `mayHaveHappened`; asking again is safe.
   */
  remove(token: string, scope: RunnerScope, id: number): Promise<'removed' | 'gone' | 'busy'>;
  /** GitHub's runner for Linux, the version that it offers now. */
  downloads(token: string, scope: RunnerScope): Promise<readonly RunnerDownload[]>;
  groups(token: string, organization: string): Promise<readonly RunnerGroup[]>;
  /** Where Beacon's app is installed and the person sees it, with whether runners may be added there and why not. */
  places(token: string): Promise<readonly RunnerPlace[]>;
}

const DEFAULT_TIMEOUT_MS = 5000;
const DEFAULT_RETRY_WAIT_MS = 250;
/** What is asked page by page may take so many times as long. */
const LONG = 3;
const NAME = /^[^\p{C}]{1,255}$/u;

/** Throws GitHubError `configuration` for settings that cannot be meant. */
export function createRunners(settings: RunnersSettings): Runners {
  const apiUrl = parseAddress(settings.apiUrl, 'The API address of GitHub');
  parseAddress(settings.webUrl, 'The web address of GitHub');
  const { host } = new URL(apiUrl);
  const timeoutMs = settings.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const circuit = createCircuit(host, settings.circuit);
  const connection = createConnection({
    apiUrl,
    timeoutMs,
    retryWaitMs: settings.retryWaitMs ?? DEFAULT_RETRY_WAIT_MS,
    pace: 'none',
    fetch: settings.fetch ?? globalThis.fetch,
    now: settings.now ?? (() => new Date()),
  });

  async function converse<T>(token: string, work: (conversation: Conversation) => Promise<T>, times = 1) {
    refuseNoToken(token);
    return circuit.run(() =>
      connection.converse({ authorization: `bearer ${token}`, token }, work, times * timeoutMs),
    );
  }
  async function at<T>(
    token: string,
    scope: RunnerScope,
    doing: { what: string; changes?: boolean; times?: number },
    work: (conversation: Conversation) => Promise<T>,
  ): Promise<T> {
    try {
      return await converse(token, work, doing.times);
    } catch (error) {
      throw explain(error, { scope, host, what: doing.what, changes: doing.changes ?? false });
    }
  }

  return {
    registrationToken: (token, scope) =>
      at(token, scope, { what: 'make a registration token' }, async (conversation) => {
        const { path, names } = runnersOf(scope);
        const asked = await conversation.ask(`POST ${path}/registration-token`, names, { repeatable: true });
        return readRegistrationToken(asked.data);
      }),
    list: (token, scope) =>
      at(token, scope, { what: 'list the runners', times: LONG }, (conversation) =>
        listWhole(conversation, scope),
      ),
    async findByName(token, scope, name) {
      if (!NAME.test(name))
        throw configuration("What was given as a runner's name", 'a text without line breaks');
      return at(token, scope, { what: 'look for a runner', times: LONG }, async (conversation) => {
        const isIt = (runner: GitHubRunner) => runner.name === name;
        const listed =
          (await listOnce(conversation, scope, { name })).runners.find(isIt) ??
          (await listWhole(conversation, scope)).find(isIt);
        return listed === undefined ? undefined : getOne(conversation, scope, listed.id);
      });
    },
    async get(token, scope, id) {
      refuseNoId(id);
      return at(token, scope, { what: 'show a runner' }, (conversation) => getOne(conversation, scope, id));
    },
    async remove(token, scope, id) {
      refuseNoId(id);
      return at(token, scope, { what: 'remove the runner', changes: true }, async (conversation) => {
        const { path, names } = runnersOf(scope);
        try {
          await conversation.ask(`DELETE ${path}/{id}`, { ...names, id });
          return 'removed';
        } catch (error) {
          if (!(error instanceof GitHubError)) throw error;
          if (error.answeredStatus === 422) return 'busy';
          if (error.answeredStatus !== 404) throw error;
          await refuseHiddenPlace(conversation, scope);
          return 'gone';
        }
      });
    },
    downloads: (token, scope) =>
      at(token, scope, { what: 'say which programs there are for runners' }, async (conversation) => {
        const { path, names } = runnersOf(scope);
        const { data } = await conversation.ask(`GET ${path}/downloads`, names);
        return readList(data, 'the downloads').flatMap((row) => readDownload(row) ?? []);
      }),
    groups(token, organization) {
      const scope: RunnerScope = { kind: 'organization', organization };
      return at(token, scope, { what: 'list the runner groups', times: LONG }, async (conversation) => {
        const pages = await conversation.askAll('GET /orgs/{org}/actions/runner-groups', {
          org: organization,
        });
        return pages.flatMap(({ data }) => readList(data, 'the runner groups').map(readGroup));
      });
    },
    places: (token) => converse(token, (conversation) => askPlaces(conversation, host), LONG),
  };
}

async function getOne(
  conversation: Conversation,
  scope: RunnerScope,
  id: number,
): Promise<GitHubRunner | undefined> {
  const { path, names } = runnersOf(scope);
  try {
    return readRunner((await conversation.ask(`GET ${path}/{id}`, { ...names, id })).data);
  } catch (error) {
    if (!(error instanceof GitHubError) || error.answeredStatus !== 404) throw error;
    await refuseHiddenPlace(conversation, scope);
    return undefined;
  }
}

/** Whoever may not see a place any more gets 404 for each runner in it; such a runner is not gone. */
async function refuseHiddenPlace(conversation: Conversation, scope: RunnerScope): Promise<void> {
  const { path, names } = runnersOf(scope);
  await conversation.ask(`GET ${path}`, { ...names, per_page: 1 });
}

/** Read anew, once, when something was added or removed between two pages. */
async function listWhole(conversation: Conversation, scope: RunnerScope): Promise<readonly GitHubRunner[]> {
  const first = await listOnce(conversation, scope);
  return (first.isWhole ? first : await listOnce(conversation, scope)).runners;
}

async function listOnce(
  conversation: Conversation,
  scope: RunnerScope,
  filter: { readonly name?: string } = {},
): Promise<{ runners: readonly GitHubRunner[]; isWhole: boolean }> {
  const { path, names } = runnersOf(scope);
  const pages = await conversation.askAll(`GET ${path}`, { ...names, ...filter });
  const runners = new Map<number, GitHubRunner>();
  for (const { data } of pages) {
    for (const runner of readList(data, 'the runners').map(readRunner)) runners.set(runner.id, runner);
  }
  const isWhole = pages.every(({ data }) => readTotal(data) === runners.size);
  return { runners: [...runners.values()], isWhole };
}

function refuseNoId(id: number): void {
  if (!Number.isSafeInteger(id) || id <= 0)
    throw configuration("What was given as a runner's id", 'a number');
}
