/** The whole way to a gate: OpenSSH's ssh, a real sshd, principals command, login's shell, sudo, gate, transient unit. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, invocation } from '../lab/throw-away-ca.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`gates on hosts of the lab are left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('a gate', () => {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-gate-test-'));
  const lab = Lab.open(folder);
  let host: GateHost;

  beforeAll(async () => {
    host = await GateHost.boot(lab, 'build-01');
    const name = { pattern: '.{0,200}' };
    const plain = { summary: 'for a test', timeout_seconds: 30, run_as: 'beacon-setup' };
    await host.allow({
      version: 1,
      commands: {
        greet: {
          ...plain,
          argv: [
            await host.command('greet', 'printf "%s|" "$@"; id -un; id -G; umask; env | sort'),
            '{name}',
          ],
          params: { name },
        },
      },
    });
  }, 120_000);
  afterAll(async () => {
    await lab.down();
    rmSync(folder, { recursive: true, force: true });
  });

  test('runs a command of the allowlist as its own account, with exactly the value that was sent', async () => {
    const value = '$HOME ${PATH} %n %% $$ `id` "q" \\ \' ä';
    const greet: Asked = { asked: invocation('greet', { name: value }) };
    const connection = await GateConnection.open(host.lab, await host.ca.certify([greet]));
    expect(await connection.hello()).toMatchObject({ host: 'build-01' });
    expect(await connection.run(greet)).toMatchObject({ event: 'exit', code: 0, why: 'ended' });
    console.log(connection.output());
    expect(connection.output().split('|')[0]).toBe(value);
    expect(await connection.end()).toBe(0);
    expect(connection.stray + connection.stderr).toBe('');
  }, 60_000);
});
