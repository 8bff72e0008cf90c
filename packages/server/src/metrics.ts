/**
 * Figures for Prometheus: how long requests took, by route and status, and the process' own. Labels are few and ours: a
 * path that was asked for never becomes one.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { type Route, routeDefiner } from './route.ts';

export interface Metrics {
  /** The text of all figures, in the exposition format. */
  text(): Promise<string>;
  readonly contentType: string;
  /** `code`: of a refusal. */
  observeRequest(
    labels: { method: string; route: string; status: number; code?: string },
    seconds: number,
  ): void;
  /** A figure that is asked for when somebody reads. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void;
}

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const SECONDS = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** `processFigures` also collects memory, event loop delay and the like; off in tests, for it starts an observer. */
export function createMetrics(options: { readonly processFigures?: boolean } = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  if (options.processFigures !== false) collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'How long requests took, from the first header to the last byte',
    labelNames: ['method', 'route', 'status'],
    buckets: SECONDS,
    registers,
  });
  const refusals = new Counter({
    name: 'http_refusals_total',
    help: 'Refused and failed requests, by the code of the problem',
    labelNames: ['route', 'code'],
    registers,
  });
  return {
    text: () => registry.metrics(),
    contentType: registry.contentType,
    observeRequest({ method, route, status, code }, seconds) {
      if (code !== undefined) refusals.inc({ route, code });
      requests.observe(
        { method: METHODS.has(method) ? method : 'other', route, status: String(status) },
        seconds,
      );
    },
    gauge(name, help, read) {
      new Gauge({
        name,
        help,
        registers,
        async collect() {
          this.set(await read());
        },
      });
    },
  };
}

/** `GET /metrics`. The figures say what goes on inside: who may read them is the server's to name. */
export function metricsRoute(metrics: Metrics, access: string): Route {
  return routeDefiner<unknown, string>()({
    method: 'GET',
    path: '/metrics',
    summary: 'Figures for Prometheus',
    tag: 'operation',
    access,
    request: {},
    responses: { 200: { description: 'All figures', contentType: metrics.contentType } },
    handle: async () => ({
      status: 200,
      body: await metrics.text(),
      headers: { 'content-type': metrics.contentType },
    }),
  });
}
