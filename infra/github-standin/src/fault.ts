/**
 * The ways in which GitHub, or the path to it, fails, switched on per method and path. A fault stays until it has
 * struck `times` times or is cleared.
 */
import type { RequestHandler, Response } from 'express';

export type FaultEffect =
  /** That answer instead of the true one. */
  | { kind: 'answer'; status: number; body?: unknown; headers?: Record<string, string> }
  /** The true answer, later. */
  | { kind: 'delay'; delayMs: number }
  /** No byte of an answer. */
  | { kind: 'hang' }
  /** Status and headers, half of the body, then nothing more. */
  | { kind: 'hang-in-body' }
  /** The true JSON cut in half, with a matching length: a proxy that truncates. */
  | { kind: 'truncated-json' }
  /** The connection ends in the middle of the body. */
  | { kind: 'cut' }
  /** The connection is reset before any answer. */
  | { kind: 'reset' }
  /** What was asked takes effect, and nobody hears of it: the connection ends in place of the answer. */
  | { kind: 'lost-reply' }
  /** 200 and a page of HTML, as a captive portal would answer. */
  | { kind: 'garbage' }
  /** A body without end. */
  | { kind: 'endless' }
  /** 403 with no requests remaining ("Exceeding the primary rate limit"). */
  | { kind: 'primary-limit'; seconds: number }
  /** 403 with `retry-after` ("Exceeding the secondary rate limit"). */
  | { kind: 'secondary-limit'; seconds: number }
  /** 429 with `retry-after`. */
  | { kind: 'too-many-requests'; seconds: number };

export interface Fault {
  /** Any method when absent. */
  readonly method?: string;
  /**
   * A path, or several, without `/api/v3` and query. A `*` at its end stands for anything, elsewhere for one part, and
   * `{id}` for a number.
   */
  readonly path: string | readonly string[];
  readonly effect: FaultEffect;
  /** How often it strikes; for ever when absent. */
  readonly times?: number;
}

export class FaultTable {
  #faults: { fault: Fault; left: number }[] = [];

  /** Answers what takes it away again. */
  add(fault: Fault): () => void {
    const added = { fault, left: fault.times ?? Number.POSITIVE_INFINITY };
    this.#faults.push(added);
    return () => {
      this.#faults = this.#faults.filter((one) => one !== added);
    };
  }

  clear(): void {
    this.#faults = [];
  }

  /** The effect that strikes this request, if one does; counts it. */
  take(method: string, path: string): FaultEffect | undefined {
    const hit = this.#faults.find(
      ({ fault, left }) =>
        left > 0 &&
        (fault.method ?? method) === method &&
        [fault.path].flat().some((pattern) => isLike(pattern, path)),
    );
    if (hit === undefined) return undefined;
    hit.left -= 1;
    return hit.fault.effect;
  }
}

function isLike(pattern: string, path: string): boolean {
  const parts = pattern.replace(/\*$/, '').split(/(\*|\{id\})/);
  const source = parts.map((part) => {
    if (part === '*') return '[^/]+';
    return part === '{id}' ? '[0-9]+' : part.replaceAll(/[^A-Za-z0-9/_-]/g, '\\$&');
  });
  return new RegExp(`^${source.join('')}${pattern.endsWith('*') ? '.*' : ''}$`).test(path);
}

/** Express middleware that lets the table strike; `pathOf` takes the prefix of GitHub Enterprise Server off. */
export function strike(table: FaultTable, pathOf: (url: string) => string): RequestHandler {
  return (request, response, next) => {
    const effect = table.take(request.method, pathOf(request.path));
    if (effect === undefined) return next();
    switch (effect.kind) {
      case 'answer':
        response.status(effect.status).set(effect.headers ?? {});
        if (effect.body === undefined) response.end();
        else response.json(effect.body);
        return;
      case 'delay':
        setTimeout(next, effect.delayMs);
        return;
      case 'hang':
        return;
      case 'reset':
        request.socket.resetAndDestroy();
        return;
      case 'garbage':
        response.status(200).type('html').send('<!doctype html><title>Sign in to the network</title>');
        return;
      case 'endless':
        endless(response);
        return;
      case 'hang-in-body':
      case 'truncated-json':
      case 'cut':
        cutBody(response, effect.kind);
        next();
        return;
      case 'lost-reply':
        loseReply(response);
        next();
        return;
      case 'primary-limit':
        limit(response, 403, 'API rate limit exceeded', {
          'x-ratelimit-remaining': '0',
          'x-ratelimit-reset': String(Math.ceil(Date.now() / 1000) + effect.seconds),
        });
        return;
      case 'secondary-limit':
        limit(response, 403, 'You have exceeded a secondary rate limit. Please wait before you try again.', {
          'retry-after': String(effect.seconds),
        });
        return;
      case 'too-many-requests':
        limit(response, 429, 'API rate limit exceeded', { 'retry-after': String(effect.seconds) });
        return;
    }
  };
}

function limit(response: Response, status: number, message: string, headers: Record<string, string>): void {
  response.status(status).set(headers).json({
    message,
    documentation_url: 'https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api',
  });
}

function cutBody(response: Response, kind: 'hang-in-body' | 'truncated-json' | 'cut'): void {
  const send = response.send.bind(response);
  response.send = (body: unknown) => {
    if (typeof body !== 'string') return send(body);
    const half = body.slice(0, Math.floor(body.length / 2));
    if (kind === 'truncated-json') return send(half);
    response.set('content-length', String(Buffer.byteLength(body)));
    response.write(half, () => {
      if (kind === 'cut') response.socket?.destroy();
    });
    return response;
  };
}

function loseReply(response: Response): void {
  response.end = () => {
    response.socket?.destroy();
    return response;
  };
}

function endless(response: Response): void {
  const chunk = ' '.repeat(65_536);
  response.status(200).type('json');
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
}
