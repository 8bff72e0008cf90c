/**
 * How the REST API answers: JSON with an ETag and rate limit headers, lists in pages by `Link` (REST documentation,
 * "Using pagination", "Rate limits", "Best practices": conditional requests), errors as `{message, documentation_url}`.
 */
import { createHash } from 'node:crypto';
import type { Request, Response } from 'express';

/** 200 with an ETag over the body, or 304 when the caller has it already. */
export function reply(request: Request, response: Response, body: unknown): void {
  const text = JSON.stringify(body);
  const etag = `W/"${createHash('sha256').update(text).digest('hex')}"`;
  response.set({ etag, 'cache-control': 'private, max-age=60, s-maxage=60', vary: 'Accept, Authorization' });
  if (request.get('if-none-match') === etag) {
    response.status(304).end();
    return;
  }
  response.type('json').send(text);
}

export function refuse(response: Response, status: number, message: string): void {
  response
    .status(status)
    .json({ message, documentation_url: 'https://docs.github.com/rest', status: `${status}` });
}

/** The 403 of an organisation whose single sign-on the token has not passed. */
export function refuseForSso(response: Response, webUrl: string, organization: string): void {
  response.set(
    'x-github-sso',
    `required; url=${webUrl}/orgs/${organization}/sso?authorization_request=standin`,
  );
  refuse(response, 403, 'Resource protected by organization SAML enforcement.');
}

/** Cuts `rows` to the page asked for, sets `Link` (to where the caller asked), and wraps the rows with `wrap`, if given. */
export function replyPage(
  request: Request,
  response: Response,
  rows: readonly unknown[],
  wrap: (rows: readonly unknown[]) => unknown = (page) => page,
): void {
  const perPage = Math.min(positive(request.query['per_page'], 30), 100);
  const page = positive(request.query['page'], 1);
  const last = Math.max(1, Math.ceil(rows.length / perPage));
  const link = (number: number, relation: string) => {
    const url = new URL(`http://${request.get('host')}${request.baseUrl}${request.path}`);
    for (const [name, value] of Object.entries(request.query)) {
      if (typeof value === 'string') url.searchParams.set(name, value);
    }
    url.searchParams.set('page', String(number));
    return `<${url.href}>; rel="${relation}"`;
  };
  const links = [
    ...(page > 1 ? [link(page - 1, 'prev')] : []),
    ...(page < last ? [link(page + 1, 'next'), link(last, 'last')] : []),
    ...(page > 1 ? [link(1, 'first')] : []),
  ];
  if (links.length > 0) response.set('link', links.join(', '));
  reply(request, response, wrap(rows.slice((page - 1) * perPage, page * perPage)));
}

function positive(value: unknown, otherwise: number): number {
  const number = typeof value === 'string' && /^[0-9]{1,9}$/.test(value) ? Number(value) : 0;
  return number > 0 ? number : otherwise;
}
