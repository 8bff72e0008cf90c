/** The subcommands on the broker's machine: what init makes, what check finds, what is refused. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readServices } from '../../ca/src/services-configuration.ts';
import { SmallCa } from '../../ca/test/small-ca.ts';
import { checkBroker } from '../src/check.ts';
import { readBrokerConfiguration } from '../src/configuration.ts';
import { initBroker } from '../src/init.ts';
import { main } from '../src/main.ts';

describe('a broker on its machine', () => {
  let ca: SmallCa;
  const parent = mkdtempSync(join(tmpdir(), 'beacon-broker-init-'));
  const folder = join(parent, 'broker');
  const file = join(folder, 'broker.yaml');
  let entry = '';

  const choices = () => ({
    publicUrl: 'https://broker.example',
    caUrl: ca.url,
    service: 'broker',
    listenHost: '127.0.0.1',
    listenPort: 8444,
    provider: 'github',
    webUrl: 'https://github.com',
    apiUrl: 'https://api.github.com',
  });

  beforeAll(async () => {
    ca = await SmallCa.start({ quiet: true, hosts: false });
    ({ entry } = await initBroker({ ...choices(), folder }));
  });
  afterAll(async () => {
    await ca.close();
    rmSync(parent, { recursive: true, force: true });
  });

  /** Lets the CA read this entry as its administrator would. */
  async function review(text: string): Promise<void> {
    const services = join(parent, 'services.yaml');
    writeFileSync(services, `version: 1\nservices:\n${text}`);
    const { policies, inventory } = ca.options;
    await ca.running.reload(() => ({ services: readServices(services), policies, inventory }));
  }

  it('is waited for by its unit for longer than it waits for runs', () => {
    const { stop } = readBrokerConfiguration(file);
    const unit = join(import.meta.dirname, '../../../infra/systemd/beacon-broker.service');
    expect(/^TimeoutStopSec=(\d+)$/m.exec(readFileSync(unit, 'utf8'))?.[1]).toBe(
      String(stop.runs_seconds + 30),
    );
  });

  const failing = async () => (await checkBroker(file)).filter(({ ok }) => !ok);

  it('makes a folder whose secrets are its own, and leaves nothing else', () => {
    expect(readdirSync(parent).filter((name) => name.startsWith('broker'))).toEqual(['broker']);
    expect(readdirSync(folder).toSorted()).toEqual(['broker.yaml', 'data', 'keys']);
    for (const name of ['service.jwk', 'sealing']) {
      expect(statSync(join(folder, 'keys', name)).mode & 0o777).toBe(0o600);
    }
    const { d } = JSON.parse(readFileSync(join(folder, 'keys/service.jwk'), 'utf8')) as { d: string };
    expect(entry).not.toContain(d);
    expect(readBrokerConfiguration(file)).toMatchObject({ ca: { url: ca.url, service: 'broker' } });
  });

  it('touches no folder that is not empty, and leaves no draft of one that it refuses', async () => {
    await expect(initBroker({ ...choices(), folder })).rejects.toMatchObject({ code: 'init-refused' });
    const other = join(parent, 'other');
    const wrong = { ...choices(), folder: other, publicUrl: 'ftp://broker.example' };
    await expect(initBroker(wrong)).rejects.toMatchObject({ code: 'configuration' });
    expect(existsSync(other)).toBe(false);
    expect(readdirSync(parent).filter((name) => name.startsWith('other'))).toEqual([]);
  });

  it('finds that the CA does not know it, knows it by another key, and that all is well', async () => {
    expect(await failing()).toMatchObject(
      [{ check: 'service', detail: /lets no service broker/ }].map(matching),
    );
    const { entry: foreign } = await initBroker({ ...choices(), folder: join(parent, 'foreign') });
    await review(foreign);
    expect(await failing()).toMatchObject([{ check: 'service', detail: /by another key/ }].map(matching));
    await review(entry);
    expect(await failing()).toEqual([]);
  });

  it.each([
    ['an unknown key', /^ssh:|$/, 'sssh: {}\n', /unknown key "sssh"/],
    [
      'plain http beyond loopback',
      'public_url: https://broker.example',
      'public_url: http://broker.example',
      /use https/,
    ],
    ['an address beyond loopback without TLS', 'host: 127.0.0.1', 'host: 0.0.0.0', /not loopback/],
    ['a variable in a path', 'store: data/broker.db', 'store: $HOME/broker.db', /no variable is expanded/],
  ])('refuses %s', async (_, from, to, reason) => {
    const text = readFileSync(file, 'utf8');
    const changed = join(folder, 'changed.yaml');
    writeFileSync(changed, text.replace(from, to));
    const [result] = await checkBroker(changed);
    expect(result).toMatchObject(matching({ check: 'configuration', detail: reason }));
    rmSync(changed);
  });

  it('names a secret that others may read, and a key that is none, without repeating it', async () => {
    const key = join(folder, 'keys/service.jwk');
    const text = readFileSync(key, 'utf8');
    writeFileSync(key, 'canary-that-is-no-key');
    const [broken] = await failing();
    expect(broken).toMatchObject(matching({ check: 'keys', detail: /not a private JWK/ }));
    expect(broken?.detail).not.toContain('canary');
    writeFileSync(key, text);
  });

  it('says what is wrong with what was typed', async () => {
    await expect(main(['broker', 'init'])).rejects.toMatchObject({ code: 'request-malformed' });
    await expect(main(['broker', 'begin'])).rejects.toMatchObject({ code: 'request-malformed' });
    await expect(main(['broker', 'check', '--confg', file])).rejects.toMatchObject({
      code: 'request-malformed',
    });
    await expect(
      main(['broker', 'init', '--public-url', 'https://b.example/', '--ca-url', ca.url]),
    ).rejects.toMatchObject({ code: 'request-malformed' });
    await expect(main(['broker', 'ready', '--config', file])).rejects.toMatchObject({
      name: 'BrokerError',
      code: 'not-ready',
    });
    await expect(main(['broker', 'serve', '--config', join(parent, 'none.yaml')])).rejects.toMatchObject({
      code: 'configuration',
    });
  });
});

function matching({ check, detail }: { check: string; detail: RegExp }) {
  return { check, ok: false, detail: expect.stringMatching(detail) };
}
