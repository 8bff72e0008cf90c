/**
 * The stand-in as one HTTP server, on loopback unless told otherwise: the web flow at the root, the REST API at the root (as api.github.com)
 * and below `/api/v3` (as GitHub Enterprise Server), and its own door below `/_standin`.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express, { type RequestHandler } from 'express';
import { adminRoutes } from './admin.ts';
import { appTokenRoutes } from './app-token.ts';
import { configure } from './configuration.ts';
import { strike } from './fault.ts';
import { oauthRoutes } from './oauth.ts';
import { refuse } from './reply.ts';
import { type Addresses, restRoutes } from './rest.ts';
import { runnerAgentRoutes } from './runner-agent.ts';
import { runnerRoutes } from './runner-rest.ts';
import { StandinState } from './state.ts';

export interface Standin {
  /** `http://<host>:<port>`: the web address, and the REST address of github.com's kind. */
  readonly url: string;
  /** The REST address of GitHub Enterprise Server's kind. */
  readonly enterpriseApiUrl: string;
  /** The same stand-in on loopback, for programs that take plain HTTP there alone; `url` itself without another host. */
  readonly loopbackUrl: string;
  readonly state: StandinState;
  close(): Promise<void>;
}

const PREFIX = '/api/v3';
const LOOPBACK = '127.0.0.1';
const INCLUDE_LOOPBACK = new Set([LOOPBACK, 'localhost', '0.0.0.0', '::']);
const KEPT_REQUESTS = 10_000;

/**
 * Starts a stand-in on a free port, or on `port`; `configuration` is the content of its file. On another `host` than
 * loopback the lab's machines reach it, and then whoever reaches that address may change it; it listens on loopback all the same.
 */
export async function startStandin(
  given: { host?: string; port?: number; configuration?: unknown; now?: () => Date } = {},
): Promise<Standin> {
  const state = new StandinState(given.now ?? (() => new Date()));
  if (given.configuration !== undefined) configure(state, given.configuration);
  let url = '';

  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(adminRoutes(state));
  app.use(note(state));
  app.use(strike(state.faults, withoutPrefix));
  app.use(oauthRoutes(state));
  app.use(rateLimitHeaders(state));
  const addresses = (): Addresses => ({ webUrl: url });
  for (const prefix of [PREFIX, '/']) {
    app.use(
      prefix,
      restRoutes(state, addresses),
      runnerRoutes(state, addresses),
      runnerAgentRoutes(state),
      appTokenRoutes(state),
    );
  }
  app.use((_request, response) => refuse(response, 404, 'Not Found'));

  const host = given.host ?? LOOPBACK;
  const hosts = INCLUDE_LOOPBACK.has(host) ? [host] : [host, LOOPBACK];
  const { servers, port } = await listen(app, hosts, given.port ?? 0);
  url = `http://${host}:${port}`;
  return {
    url,
    enterpriseApiUrl: `${url}${PREFIX}`,
    loopbackUrl: `http://${LOOPBACK}:${port}`,
    state,
    close: async () => {
      await Promise.all(servers.map(close));
    },
  };
}

/** On the same port of each host; where it may be any, another is tried when it is taken on the second. */
async function listen(
  app: RequestListener,
  hosts: readonly string[],
  wanted: number,
): Promise<{ servers: Server[]; port: number }> {
  for (let tries = 1; ; tries += 1) {
    const servers: Server[] = [];
    let port = wanted;
    try {
      for (const host of hosts) {
        const server = createServer(app);
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject);
          server.listen(port, host, resolve);
        });
        servers.push(server);
        ({ port } = server.address() as AddressInfo);
      }
      return { servers, port };
    } catch (error) {
      await Promise.all(servers.map(close));
      if (wanted !== 0 || tries === 5) throw error;
    }
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function withoutPrefix(path: string): string {
  return path.startsWith(`${PREFIX}/`) ? path.slice(PREFIX.length) : path;
}

function note(state: StandinState): RequestHandler {
  return (request, _response, next) => {
    if (state.requests.length === KEPT_REQUESTS) state.requests.shift();
    state.requests.push(`${request.method} ${withoutPrefix(request.path)}`);
    next();
  };
}

/** Counts nothing: limits are a fault that tests switch on. */
function rateLimitHeaders(state: StandinState): RequestHandler {
  return (_request, response, next) => {
    const reset = Math.ceil(state.now().getTime() / 1000) + 3600;
    response.set({
      'x-github-request-id': `STANDIN:${state.nextId()}`,
      'x-github-media-type': 'github.v3; format=json',
      'x-ratelimit-limit': '5000',
      'x-ratelimit-remaining': '4999',
      'x-ratelimit-used': '1',
      'x-ratelimit-reset': String(reset),
      'x-ratelimit-resource': 'core',
    });
    next();
  };
}
