/**
 * Routes by path: which one answers a method, and how a path as OpenAPI writes it becomes a path as express reads it.
 */
import { ServerError } from './error.ts';
import type { Route } from './route.ts';

/** Routes by path, those without parameters first, so that a fixed path wins over one that would also match. */
export function groupByPath(routes: readonly Route[]): readonly (readonly [string, readonly Route[]])[] {
  const groups = new Map<string, Route[]>();
  for (const route of routes) {
    const named = parameterNames(route.path);
    const described = Object.keys(route.request.params?.shape ?? {});
    if (!route.path.startsWith('/') || named.toSorted().join() !== described.toSorted().join()) {
      throw new ServerError(
        'definition',
        `${route.method} ${route.path}: its parameters and their schema differ`,
      );
    }
    const group = groups.get(route.path) ?? [];
    if (group.some(({ method }) => method === route.method)) {
      throw new ServerError('definition', `${route.method} ${route.path} is defined twice`);
    }
    group.push(route);
    groups.set(route.path, group);
  }
  return [...groups].toSorted(([a], [b]) => parameterNames(a).length - parameterNames(b).length);
}

function parameterNames(path: string): readonly string[] {
  return [...path.matchAll(/\{([a-z_]+)\}/g)].map(([, name]) => name ?? '');
}

/** OpenAPI's `{name}` as express' `:name`; everything else of express' pattern language is escaped. */
export function toExpressPath(path: string): string {
  return path
    .split(/(\{[a-z_]+\})/)
    .map((part) =>
      /^\{[a-z_]+\}$/.test(part) ? `:${part.slice(1, -1)}` : part.replace(/[{}()[\]+?!*:\\]/g, '\\$&'),
    )
    .join('');
}

/** The route for a method; HEAD is answered by GET. Throws ServerError `method-not-allowed` with `allow`. */
export function routeFor(routes: readonly Route[], method: string): Route {
  const wanted = method === 'HEAD' ? 'GET' : method;
  const route = routes.find((candidate) => candidate.method === wanted);
  if (route !== undefined) return route;
  const allowed = routes.flatMap((candidate) =>
    candidate.method === 'GET' ? ['GET', 'HEAD'] : [candidate.method],
  );
  throw new ServerError(
    'method-not-allowed',
    `This path answers to ${allowed.join(', ')}: use one of them.`,
    {
      headers: { allow: allowed.join(', ') },
    },
  );
}
