/**
 * A managed host of the lab on which attackers try, with what each of them should see. One command, which leaves a trace:
 * after every test it must not have run.
 */
import { afterAll, afterEach, beforeAll, describe, expect } from '@jest/globals';
import { type ConnectOptions, GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { type Asked, type CertifyOptions, invocation } from '../lab/throw-away-ca.ts';

/** What the command writes to. */
export const TOUCHED = '/var/tmp/touched';
export const touch: Asked = { asked: invocation('touch') };

/** `describe` where there is a lab; elsewhere it says what is left out, and why. */
export function describeOnHost(what: string, tests: (attacked: AttackedHost) => void): void {
  const why = whyNoLab();
  if (why !== undefined) process.stderr.write(`left out: ${what}: ${why}\n`);
  (why === undefined ? describe : describe.skip)(what, () => tests(new AttackedHost()));
}

export class AttackedHost {
  #host: GateHost | undefined;
  #lab: Lab | undefined;

  constructor() {
    beforeAll(async () => {
      this.#lab = await Lab.temporary();
      this.#host = await GateHost.boot(this.#lab, 'build-01');
      await this.allow();
    }, 120_000);
    afterAll(() => this.#lab?.down());
    afterEach(async () => {
      expect((await this.host.lab.exec(['cat', TOUCHED])).stdout).toBe('');
    });
  }

  get host(): GateHost {
    if (this.#host === undefined) throw new Error('the host has not started yet');
    return this.#host;
  }

  /** The allowlist of one command, and what else is given. */
  async allow(more: object = {}): Promise<void> {
    const argv = [await this.host.command('touch', `echo ran >>${TOUCHED}; echo ran`)];
    const one = { summary: 'for a test', argv, timeout_seconds: 20, run_as: 'beacon-setup' };
    await this.host.allow({ version: 1, commands: { touch: one, ...more } });
  }

  async connect(options: ConnectOptions = {}, certify: CertifyOptions = {}): Promise<GateConnection> {
    return GateConnection.open(this.host.lab, await this.host.ca.certify([touch], certify), options);
  }

  /** sshd lets nobody in; the gate says nothing, for it was not reached. */
  async shutOut(connection: GateConnection): Promise<void> {
    expect(await connection.ended).toBe(255);
    expect(connection.events).toEqual([]);
    expect(connection.stderr).toMatch(/Permission denied/);
  }

  /** The gate answers, refuses with this code, and nothing else comes out. */
  async refusedWith(connection: GateConnection, code: string, status = 77): Promise<void> {
    expect(await connection.ended).toBe(status);
    expect(connection.events).toMatchObject([{ event: 'refused', code }]);
    expect(connection.stray).toBe('');
  }
}
