import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatHandovers, handoverMessage, TRUST_HANDOVER_NAMESPACE } from '@beacon/protocol/trust-handover';
import { createSigner, formatMessageSignature, generateKey, signMessage } from '@beacon/ssh';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { lineOf } from '../../../infra/lab/throw-away-ca.ts';
import { codeOf } from './refusal.ts';
import { SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
});
afterEach(() => host.close());

const read = (): string => codeOf(() => host.gate().trust.read(host.now()));
const DAY = 24 * 3_600_000;

describe('trust', () => {
  it('B3: is stale from the second at which root or status expire', async () => {
    host.clock += DAY - 1;
    expect(read()).toBe('accepted');
    host.clock += 1;
    expect(read()).toBe('stale-trust');
    const expires = new Date(host.clock + 1_000);
    await host.publish({ root: { version: 2, expires }, status: { rootVersion: 2 } });
    expect(read()).toBe('accepted');
    host.clock += 1_000;
    expect(read()).toBe('stale-trust');
  });

  it('L10: is refused where the clock is over a minute before the status was issued', async () => {
    host.clock -= 60_000;
    expect(read()).toBe('accepted');
    host.clock -= 1;
    expect(read()).toBe('clock-went-back');
  });

  it('B1, B2: never goes back, and never is another of the same version, though the note of it be deleted', async () => {
    const old = await host.ca.publish();
    await host.publish();
    expect(read()).toBe('accepted');
    host.install(old);
    expect(read()).toBe('trust-went-back');
    rmSync(host.places.trustFloor);
    expect(read()).toBe('trust-went-back');
    await host.publish();
    expect(read()).toBe('accepted');
    await host.publish({ status: { version: 3, halt: ['01hzzzzzzz0123456789abcdef'] } });
    expect(read()).toBe('trust-went-back');
    await host.publish({ root: { hosts: 'build-01' } });
    expect(read()).toBe('trust-went-back');
  });

  it('B4: begins the status’ versions anew with a new root, which may name another key for it', async () => {
    await host.publish({ status: { version: Number.MAX_SAFE_INTEGER } });
    expect(read()).toBe('accepted');
    const signStatusWith = generateKey('ssh-ed25519');
    const { formatPublicKeyLine } = await import('@beacon/ssh');
    const statusKey = formatPublicKeyLine(signStatusWith.publicKey);
    await host.publish({
      root: { version: 2, statusKey },
      status: { rootVersion: 2, version: 1 },
      signStatusWith,
    });
    expect(read()).toBe('accepted');
    await host.publish({ root: { version: 2, statusKey }, status: { rootVersion: 2, version: 2 } });
    expect(read()).toBe('trust-refused');
  });

  it('B8: follows the root key where it handed over, from the pinned one, and nobody else', async () => {
    const [second, thief] = [generateKey('ssh-ed25519'), generateKey('ssh-ed25519')];
    const changes = { root: { version: 2 }, status: { rootVersion: 2 }, signRootWith: second };
    const files = await host.ca.publish(changes);
    const handoverOf = async (by: typeof second, to: typeof second) => {
      const document = String(files['root.json']);
      const message = handoverMessage(lineOf(to), Buffer.from(document));
      const handover = formatMessageSignature(
        await signMessage(createSigner(by.privateKey), TRUST_HANDOVER_NAMESPACE, message),
      );
      const signature = String(files['root.json.sig']);
      return formatHandovers([{ rootKey: lineOf(to), document, signature, handover }]);
    };
    host.install(files);
    expect(read()).toBe('trust-refused');
    for (const [by, to] of [
      [thief, second],
      [second, second],
      [host.ca.rootKey, thief],
    ] as const) {
      host.install({ ...files, 'handovers.json': await handoverOf(by, to) });
      expect(read()).toBe('trust-refused');
    }
    host.install({ ...files, 'handovers.json': await handoverOf(host.ca.rootKey, second) });
    expect(read()).toBe('accepted');
  });

  it('B5: is refused when its parts do not belong together', async () => {
    const [one, two] = [await host.ca.publish({ revoked: [7n] }), await host.ca.publish()];
    for (const part of ['status.json', 'status.json.sig', 'krl']) {
      host.install({ ...one, [part]: two[part] ?? '' });
      expect(read()).toBe('trust-refused');
    }
    await host.publish({ status: { rootVersion: 2 } });
    expect(read()).toBe('trust-refused');
  });

  it('is refused for another host or login, or signed by another key', async () => {
    await host.publish({ root: { hosts: 'web-.*' } });
    expect(read()).toBe('trust-refused');
    await host.publish({ root: { logins: ['other'] } });
    expect(read()).toBe('trust-refused');
    await host.publish({ signRootWith: host.ca.statusKey });
    expect(read()).toBe('trust-refused');
    await host.publish({ signStatusWith: host.ca.rootKey });
    expect(read()).toBe('trust-refused');
  });

  it('K2: is refused with a list that was cut at a section, although the status names it', async () => {
    const whole = Buffer.from((await host.ca.publish({ revoked: [7n] }))['krl'] ?? '');
    await host.publish({ krl: whole.subarray(0, -46) });
    expect(read()).toBe('trust-refused');
  });

  it('is refused when a file is missing, changed, or can be written by others', async () => {
    const names = ['root.json', 'root.json.sig', 'status.json', 'status.json.sig', 'krl'];
    for (const name of names) {
      const folder = await host.publish();
      expect(read()).toBe('accepted');
      const path = join(folder, name);
      const content = readFileSync(path);
      chmodSync(path, 0o666);
      expect(read()).toBe('trust-refused');
      chmodSync(path, 0o644);
      writeFileSync(path, Buffer.concat([content, Buffer.from('\n')]));
      expect(read()).toBe('trust-refused');
      rmSync(path);
      expect(read()).toBe('trust-refused');
    }
  });

  it('sees what was published since it last looked', async () => {
    const { trust } = host.gate();
    const before = trust.fingerprint();
    expect(trust.read(host.now()).krl.authorities).toEqual([]);
    await host.publish({ revoked: [7n] });
    expect(trust.fingerprint()).not.toBe(before);
    expect(trust.read(host.now()).krl.authorities).toHaveLength(1);
  });
});
