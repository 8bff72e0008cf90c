/**
 * What a runner itself asks: the archive, the registration by a token (`POST /actions/runner-registration`, with GitHub's
 * answer of 404 to any token that is not right), and then, below `/_services`, a protocol of our own between stand-in and
 * small runner: a session, messages that are waited for, and the end of a job. Forms in, lines of text out, for a runner
 * that is a shell script.
 */
import { type Request, type Response, Router, text, urlencoded } from 'express';
import { StandinError } from './error.ts';
import { refuse } from './reply.ts';
import { ARCHITECTURES, archiveName, runnerArchive } from './runner-archive.ts';
import type { Runner, RunnerScope } from './runner-state.ts';
import type { StandinState } from './state.ts';

const LONGEST_WAIT_SECONDS = 50;

export function runnerAgentRoutes(state: StandinState): Router {
  const router = Router();
  const { runners } = state;
  const form = urlencoded({ extended: false });

  router.get('/actions/runner/releases/download/:tag/:file', (request, response) => {
    const { tag, file } = request.params;
    for (const version of runners.versions) {
      const architecture = ARCHITECTURES.find((one) => archiveName(version, one) === file);
      if (tag !== `v${version}` || architecture === undefined) continue;
      response.type('application/octet-stream').send(runnerArchive(version, architecture).bytes);
      return;
    }
    refuse(response, 404, 'Not Found');
  });

  router.post('/actions/runner-registration', form, (request, response) => {
    const scope = scopeOf(state, request, 'registration');
    if (scope === undefined) return refuse(response, 404, 'Not Found');
    const field = fieldsOf(request);
    const list = (name: string) => (field(name) === '' ? [] : field(name).split(','));
    try {
      const made = runners.register(scope, {
        name: field('name'),
        labels: list('labels'),
        hasDefaultLabels: field('no_default_labels') === '',
        group: field('group') === '' ? undefined : field('group'),
        isEphemeral: field('ephemeral') !== '',
        version: field('version'),
      });
      response.type('text').send(`${made.id} ${made.credential}\n`);
    } catch (error) {
      if (!(error instanceof StandinError)) throw error;
      refuse(response, error.code === 'taken' ? 409 : 422, error.message);
    }
  });

  router.post('/actions/runner-removal', form, (request, response) => {
    const scope = scopeOf(state, request, 'removal');
    const name = fieldsOf(request)('name');
    const runner = scope && runners.inScope(scope).find((one) => one.name === name);
    if (runner === undefined) return refuse(response, 404, 'Not Found');
    if (runners.remove(runner.id)) response.status(204).end();
    else refuse(response, 422, `Runner "${name}" is still running a job`);
  });

  router.post('/_services/session', (request, response) => {
    const runner = runnerOf(state, request, response);
    if (runner === undefined) return;
    if (runners.openSession(runner)) response.type('text').send('ok\n');
    else refuse(response, 409, 'A session for this runner already exists.');
  });

  router.delete('/_services/session', (request, response) => {
    const runner = runnerOf(state, request, response);
    if (runner === undefined) return;
    runners.closeSession(runner);
    response.status(204).end();
  });

  router.get('/_services/message', async (request, response) => {
    const runner = runnerOf(state, request, response);
    if (runner === undefined) return;
    const seconds = Math.min(Number(request.query['wait'] ?? 0), LONGEST_WAIT_SECONDS);
    const message = await runners.nextMessage(runner, seconds * 1_000, () => request.socket.destroyed);
    if (request.socket.destroyed) return;
    if (!runners.runners.has(runner.id)) return refuse(response, 404, 'Not Found');
    if (message === undefined) response.status(204).end();
    else if (typeof message === 'string') response.type('text').send(`${message}\n`);
    else {
      const script = Buffer.from(message.script).toString('base64');
      response.type('text').send(`job ${message.id} ${message.name} ${script}\n`);
    }
  });

  router.post('/_services/job/:id', text({ type: '*/*', limit: '1mb' }), (request, response) => {
    const runner = runnerOf(state, request, response);
    if (runner === undefined) return;
    const output = typeof request.body === 'string' ? request.body : '';
    const isKnown = runners.finishJob(
      runner,
      Number(request.params['id']),
      Number(request.query['exit']),
      output,
    );
    if (isKnown) response.status(204).end();
    else refuse(response, 404, 'Not Found');
  });
  return router;
}

/** The token's scope, if it is the one of the address that the form names. */
function scopeOf(
  state: StandinState,
  request: Request,
  use: 'registration' | 'removal',
): RunnerScope | undefined {
  const token = /^RemoteAuth ([A-Z0-9]{1,64})$/.exec(request.get('authorization') ?? '')?.[1] ?? '';
  const scope = state.runners.scopeOf(token, use);
  if (scope === undefined) return undefined;
  let path: string;
  try {
    path = new URL(fieldsOf(request)('url')).pathname.slice(1).toLowerCase();
  } catch {
    return undefined;
  }
  const repository = state.runners.repositories.get(scope.id);
  const organization = state.organization(repository?.owner ?? scope.id);
  const own =
    scope.kind === 'organization' ? organization.login : `${organization.login}/${repository?.name}`;
  return path === own.toLowerCase() ? scope : undefined;
}

function runnerOf(state: StandinState, request: Request, response: Response): Runner | undefined {
  const given = /^Bearer ([A-Za-z0-9]{1,64})$/.exec(request.get('authorization') ?? '')?.[1] ?? '';
  const runner = state.runners.byCredential(given);
  // A runner that GitHub has deleted is told so by 404, whatever it asks.
  if (runner === undefined) refuse(response, 404, 'Not Found');
  return runner;
}

function fieldsOf(request: Request): (name: string) => string {
  const body: Record<string, unknown> = { ...(request.body as object | undefined) };
  return (name) => (typeof body[name] === 'string' ? body[name] : '');
}
