/**
 * Asking GitHub's REST API within one deadline, over octokit. A call ends in an answer that was read whole, or in a
 * GitHubError: an answer that went wrong never becomes an empty one. Three habits of octokit are undone here, because
 * each would turn a fault into "no memberships": its pagination ends quietly at a 409 and reads an empty body as an
 * empty list, and its reader hands broken JSON on as a text. Nothing here waits for a rate limit.
 */
import { createHash, randomUUID } from 'node:crypto';
import { Octokit } from '@octokit/core';
import { paginateRest } from '@octokit/plugin-paginate-rest';
import { retry } from '@octokit/plugin-retry';
import { throttling } from '@octokit/plugin-throttling';
import { boundedFetch, type Fetch } from './bounded-fetch.ts';
import { GitHubError } from './error.ts';
import { fromOctokit, unexpected } from './fault.ts';

export interface ConnectionSettings {
  readonly apiUrl: string;
  /** For everything that one call of ours asks, retries and waiting included. */
  readonly timeoutMs: number;
  /** Before the one retry after a connection that failed or a 5xx. */
  readonly retryWaitMs: number;
  /**
   * `by-token`: changes with one token are a second apart, as GitHub recommends for long series. `none` where persons wait
   * for each; a limit that is met is then said.
   */
  readonly pace?: 'by-token' | 'none';
  readonly fetch: Fetch;
  readonly now: () => Date;
}

export interface Answer {
  readonly headers: Readonly<Record<string, string | number | undefined>>;
  /** JSON as it came; integers past 2^53 are bigint. */
  readonly data: unknown;
}

export type Route = `${'GET' | 'POST' | 'DELETE'} /${string}`;

/** One conversation: the same credential, the same deadline. */
export interface Conversation {
  /**
   * Tried once more after a 5xx or where no answer was heard; a POST, which may have been done all the same, only where
   * the caller says that it may be done twice.
   */
  ask(
    route: Route,
    parameters?: Record<string, unknown>,
    options?: { readonly repeatable?: boolean },
  ): Promise<Answer>;
  /** Every page, in order. Throws `malformed` when there are more than the bound. */
  askAll(route: Route, parameters?: Record<string, unknown>): Promise<Answer[]>;
}

export interface Connection {
  /**
   * Runs `work`; rejects with GitHubError `unavailable` at the deadline and aborts what is under way.
   * `authorization` is the header's whole text, or null to ask as nobody; `token` is the person's token that is asked
   * with or about.
   */
  converse<T>(
    credential: { authorization: string | null; token?: string },
    work: (conversation: Conversation) => Promise<T>,
    timeoutMs?: number,
  ): Promise<T>;
}

/** 20 pages of 100: two thousand organisations, teams or repositories of one person, or runners of one place. */
const MAX_PAGES = 20;
const PAGE_ROWS = 100;
/** Only what may pass on its own is tried again: 5xx and failed connections. */
const NO_RETRY = [304, 400, 401, 403, 404, 409, 410, 422, 429, 451];

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const PatientOctokit = Octokit.plugin(paginateRest, retry, throttling);

export function createConnection(settings: ConnectionSettings): Connection {
  const fetch = boundedFetch(settings.apiUrl, settings.fetch);
  const { host } = new URL(settings.apiUrl);
  return {
    async converse({ authorization, token = '' }, work, timeoutMs = settings.timeoutMs) {
      const controller = new AbortController();
      const octokit = createOctokit(settings, fetch, token, controller.signal);
      let timer: NodeJS.Timeout | undefined;
      const deadline = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => {
          reject(
            new GitHubError(
              'unavailable',
              `${host} did not answer within ${timeoutMs} ms. Try again; if it lasts, look at https://www.githubstatus.com or the network between.`,
            ),
          );
        }, timeoutMs);
      });
      try {
        return await Promise.race([work(conversationOver(octokit, authorization)), deadline]);
      } catch (error) {
        throw fromOctokit(error, host, settings.now());
      } finally {
        clearTimeout(timer);
        controller.abort();
      }
    },
  };
}

function createOctokit(settings: ConnectionSettings, fetch: Fetch, token: string, signal: AbortSignal) {
  const { host } = new URL(settings.apiUrl);
  const octokit = new PatientOctokit({
    baseUrl: settings.apiUrl,
    userAgent: 'beacon',
    log: silent,
    request: { fetch, signal, log: silent },
    retry: { retries: 1, retryAfterBaseValue: settings.retryWaitMs, doNotRetry: NO_RETRY },
    throttle: {
      // One queue per person's token. In octokit's default, one for the process, deletions are a second apart and one
      // slow check holds up everybody's.
      id: settings.pace === 'none' ? randomUUID() : createHash('sha256').update(token).digest('base64url'),
      onRateLimit: () => false,
      onSecondaryRateLimit: () => false,
    },
  });
  // Registered last, so outermost: what leaves this hook is a good answer or a GitHubError.
  octokit.hook.wrap('request', async (request, options) => {
    try {
      const response = await request(options);
      if (options.method === 'DELETE') {
        if (response.status !== 204) throw unexpected(host, response.status);
        return response;
      }
      const made = options.method === 'POST' && response.status === 201;
      if (response.status !== 200 && !made) throw unexpected(host, response.status);
      const type = String(response.headers['content-type'] ?? '');
      if (
        !/^application\/json\s*(?:;|$)/i.test(type) ||
        typeof response.data !== 'object' ||
        !response.data
      ) {
        throw new GitHubError(
          'unavailable',
          `What ${host} answered is not whole JSON. Try again; if it lasts, look at what stands between here and GitHub.`,
          { answeredStatus: response.status },
        );
      }
      return response;
    } catch (error) {
      throw fromOctokit(error, host, settings.now());
    }
  });
  return octokit;
}

function conversationOver(
  octokit: InstanceType<typeof PatientOctokit>,
  authorization: string | null,
): Conversation {
  const headers = {
    accept: 'application/vnd.github+json',
    'x-github-api-version': '2022-11-28',
    ...(authorization === null ? {} : { authorization }),
  };
  return {
    ask(route, parameters = {}, { repeatable = !route.startsWith('POST') } = {}) {
      const bound = repeatable ? {} : { request: { retries: 0 } };
      return octokit.request(route, { ...parameters, headers, ...bound });
    },
    async askAll(route, parameters = {}) {
      const pages: Answer[] = [];
      const asked = { ...parameters, per_page: PAGE_ROWS, headers };
      for await (const page of octokit.paginate.iterator(route, asked)) {
        if (pages.length === MAX_PAGES) {
          throw new GitHubError(
            'malformed',
            `${route} has more than ${MAX_PAGES} pages of ${PAGE_ROWS}. So many cannot be read.`,
          );
        }
        pages.push(page);
      }
      return pages;
    },
  };
}
