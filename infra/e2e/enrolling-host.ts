/**
 * A machine that runs, the archive for hosts, and a real CA that it reaches: what the tests of enrolment stand on. Each test
 * begins with a machine that the CA has never seen, for its host key is made anew.
 */
import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseHostToken } from '@beacon/protocol/host-token';
import { formatPrivateKey, formatPublicKeyLine, generateKey } from '@beacon/ssh';
import { afterAll, beforeAll } from '@jest/globals';
import { askPoolToken, askToken } from '../../packages/ca/test/machine.ts';
import { publish, startTrustLab, type TrustLab } from '../../packages/ca/test/trust-lab.ts';
import { buildHost } from '../../scripts/build-host.ts';
import { Lab } from '../lab/lab.ts';
import type { LabHost } from '../lab/lab-host.ts';
import { type Lane, openLane } from '../lab/lane.ts';
import { type Outcome, runProgram } from '../lab/system-command.ts';
import { lineOf } from '../lab/throw-away-ca.ts';

export const BEACON = '/opt/beacon-host/beacon host';
export const CERTIFICATE = '/etc/beacon/host-cert.pub';
export const CERTIFICATE_DROP_IN = '/etc/ssh/sshd_config.d/11-beacon-host-certificate.conf';
const NAME = 'build-01';

export class EnrollingHost {
  readonly folder: string;
  readonly ca: TrustLab;
  readonly host: LabHost;
  /** All of /etc, before anything of Beacon was there. */
  before = '';
  readonly #lab: Lab;
  readonly #lane: Lane;
  #number = 0;

  private constructor(folder: string, ca: TrustLab, lab: Lab, host: LabHost, lane: Lane) {
    this.folder = folder;
    this.ca = ca;
    this.host = host;
    this.#lab = lab;
    this.#lane = lane;
  }

  static async start(): Promise<EnrollingHost> {
    const folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-host-enrol-'));
    await buildHost(join(folder, 'archive'));
    // What is copied, hashed and written to the disk again and again stays small.
    mkdirSync(join(folder, 'runtime'));
    renameSync(join(folder, 'archive/node'), join(folder, 'runtime/node'));
    writeFileSync(join(folder, 'archive/node'), '#!/bin/sh\nexec /opt/runtime/node "$@"\n', { mode: 0o755 });
    const ca = await startTrustLab();
    await publish(ca);
    const lab = await Lab.temporary();
    const binds = { '/opt/beacon-host': join(folder, 'archive'), '/opt/runtime': join(folder, 'runtime') };
    const { host } = await lab.boot(NAME, { binds });
    const lane = await openLane(lab, NAME, Number(new URL(ca.ca.url).port));
    const operator = generateKey('ssh-ed25519');
    writeFileSync(join(folder, 'operator'), await formatPrivateKey(operator.privateKey), { mode: 0o600 });
    await host.write('/root/root.pub', `${formatPublicKeyLine(ca.root.publicKey)}\n`);
    await host.script(`
      useradd --create-home --shell /bin/sh keeper; usermod -p '*' keeper
      install -d -m 700 -o keeper -g keeper /home/keeper/.ssh
      echo '${lineOf(operator)}' >/home/keeper/.ssh/authorized_keys
      echo 'keeper ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/keeper
      chmod 440 /etc/sudoers.d/keeper
    `);
    return new EnrollingHost(folder, ca, lab, host, lane);
  }

  async close(): Promise<void> {
    await this.#lane.close();
    await this.#lab.down();
    await this.ca.ca.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get url(): string {
    return this.ca.ca.url;
  }

  etc(): Promise<string> {
    return this.host.script(
      `cd /etc; find . -path ./mtab -prune -o -type f -exec sha256sum {} + | sort -k 2; find . -printf '%p %m %U:%G %l\\n' | sort`,
    );
  }

  /** `0` where the administrators' own login and their sudo work: a plain key, past everything of Beacon's. */
  async administrator(port = 22): Promise<string> {
    const options = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes'];
    const { stdout, stderr } = await runProgram([
      ...['ssh', '-F', 'none', '-i', join(this.folder, 'operator'), '-p', String(port)],
      ...[...options, 'LogLevel=ERROR'].flatMap((one) => ['-o', one]),
      ...[`keeper@${this.host.address}`, 'sudo -n id -u'],
    ]);
    return `${stdout}${stderr}`.trim();
  }

  /** A host key that nobody has seen, and the token for an id that nobody has. Answers the id. */
  async asNew(change: object = {}): Promise<string> {
    await this.host.script(
      'cd /etc/ssh; rm -f ssh_host_*; ssh-keygen -q -t ed25519 -N "" -f ssh_host_ed25519_key; systemctl reload ssh',
    );
    this.before = await this.etc();
    const id = `build-${++this.#number}`;
    await this.giveToken(id, change);
    return id;
  }

  /** Puts a token where `init` finds it. */
  async giveToken(id: string, change: object = {}): Promise<string> {
    const { body } = await askToken(this.ca, id, change);
    return this.#put(body['token'] as string);
  }

  async givePoolToken(pattern: string, uses: number): Promise<string> {
    const { body } = await askPoolToken(this.ca, pattern, uses);
    return this.#put(body['token'] as string);
  }

  async #put(token: string): Promise<string> {
    await this.host.write('/root/token', `${token}\n`, { mode: 0o600 });
    this.ca.ca.canaries.push(parseHostToken(token).secret);
    return token;
  }

  /** `init` with the token, or with other words behind the id and the CA. */
  init(id: string, more = '--token-file /root/token'): Promise<Outcome> {
    return this.host.exec(['sh', '-c', this.initLine(id, more)]);
  }

  initLine(id: string, more = '--token-file /root/token'): string {
    return `${BEACON} init --id ${id} --ca ${this.url} ${more}`;
  }

  check(): Promise<Outcome> {
    return this.host.exec(['sh', '-c', `${BEACON} check`]);
  }

  /** Takes the host back; answers whether /etc is as it was. */
  async remove(): Promise<boolean> {
    await this.host.script(`${BEACON} remove --purge`);
    return (await this.etc()) === this.before;
  }

  /** The kinds of the CA's records about a host. */
  async records(id: string): Promise<string[]> {
    return (await this.ca.ca.records()).filter((one) => one.host === id).map(({ kind }) => kind);
  }
}

/** One for the tests of a file. */
export function useEnrollingHost(): () => EnrollingHost {
  let made: EnrollingHost | undefined;
  beforeAll(async () => {
    made = await EnrollingHost.start();
  }, 300_000);
  afterAll(() => made?.close());
  return () => {
    if (made === undefined) throw new Error('the host is not there before the first test');
    return made;
  };
}
