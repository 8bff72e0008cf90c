import { expect, test } from '@jest/globals';
import { createMetrics } from '../src/index.ts';

test('counts, reads gauges when asked, and keeps histograms', async () => {
  const metrics = createMetrics({ processFigures: false });
  const issued = metrics.counter('certificates_total', 'Certificates', ['kind']);
  let waiting = 1;
  metrics.gauge('waiting', 'How many wait', () => waiting);
  const seconds = metrics.histogram('sign_seconds', 'How long signing took', [], [0.1, 1]);
  issued({ kind: 'run' });
  issued({ kind: 'run' }, 2);
  seconds({}, 0.05);
  waiting = 7;
  const text = await metrics.text();
  expect(text).toContain('certificates_total{kind="run"} 3');
  expect(text).toContain('\nwaiting 7');
  expect(text).toContain('sign_seconds_bucket{le="0.1"} 1');
});

test('keeps figures of the process unless told not to', async () => {
  expect(await createMetrics().text()).toContain('process_resident_memory_bytes');
});
