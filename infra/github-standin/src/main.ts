/** Starts the stand-in from a shell: `node src/main.ts [--port N] [--config FILE]`. Prints one line of JSON, then serves. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startStandin } from './server.ts';

const { values } = parseArgs({ options: { port: { type: 'string' }, config: { type: 'string' } } });
const standin = await startStandin({
  port: Number(values.port ?? 0),
  ...(values.config === undefined ? {} : { configuration: JSON.parse(readFileSync(values.config, 'utf8')) }),
});
process.stdout.write(
  `${JSON.stringify({ url: standin.url, enterprise_api_url: standin.enterpriseApiUrl })}\n`,
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void standin.close());
}
