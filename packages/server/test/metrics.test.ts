import { expect, test } from '@jest/globals';
import { createMetrics } from '../src/index.ts';

test('counts requests by route and refusals by code, and reads gauges when asked', async () => {
  const metrics = createMetrics({ processFigures: false });
  let waiting = 1;
  metrics.gauge('waiting', 'How many wait', () => waiting);
  metrics.observeRequest({ method: 'POST', route: '/v1/things', status: 201 }, 0.004);
  for (const code of ['store-full', 'store-full', 'denied'])
    metrics.observeRequest({ method: 'POST', route: '/v1/things', status: 503, code }, 0.004);
  waiting = 7;
  const text = await metrics.text();
  expect(text).toContain(
    'http_request_duration_seconds_count{method="POST",route="/v1/things",status="201"} 1',
  );
  expect(text).toContain('http_refusals_total{route="/v1/things",code="store-full"} 2');
  expect(text).toContain('http_refusals_total{route="/v1/things",code="denied"} 1');
  expect(text).toContain('\nwaiting 7');
});

test('keeps figures of the process unless told not to', async () => {
  expect(await createMetrics().text()).toContain('process_resident_memory_bytes');
});
