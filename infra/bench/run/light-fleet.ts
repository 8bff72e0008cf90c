/**
 * Many light hosts of a lab, each with an sshd and a network of its own, a gate without root behind the login `beacon`, and
 * beside it an ordinary login `plain` for what one would use instead. What all have in common lies in one folder that they
 * see read-only.
 */
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CaApi } from '@beacon/client';
import { formatHostIdentity } from '@beacon/protocol/trust';
import { formatPublicKeyLine, type PublicKey } from '@beacon/ssh';
import { bundleGate, compileGate } from '../../../scripts/bundle-gate.ts';
import type { Lab } from '../../lab/lab.ts';
import type { LabHost } from '../../lab/lab-host.ts';
import { lineOf, ThrowAwayCa } from '../../lab/throw-away-ca.ts';

const FILES = join(import.meta.dirname, '../../../packages/gate/files');
const HERE = '/opt/bench';
const PREFIX = '/home/beacon/gate';
const AT_ONCE = 4;
const UNNAMED = 'light-000';

/** Run in each host: its name, and the line of its host certificate. */
const SET_UP = `
set -eu
useradd --create-home --shell /bin/sh beacon; usermod -p '*' beacon
useradd --create-home --shell /bin/sh plain; usermod -p '*' plain
install -d -m 700 -o plain ~plain/.ssh; install -m 600 -o plain ${HERE}/plain.pub ~plain/.ssh/authorized_keys
mkdir -p ${PREFIX}/etc/beacon/trust/1 ${PREFIX}/var/lib/beacon ${PREFIX}/run/beacon ${PREFIX}/commands
cp ${HERE}/trust/* ${PREFIX}/etc/beacon/trust/1/; ln -s 1 ${PREFIX}/etc/beacon/trust/current
cp ${HERE}/allowlist.json ${PREFIX}/etc/beacon/; cp ${HERE}/nothing ${PREFIX}/commands/
sed "s/${UNNAMED}/$1/" ${HERE}/host.json >${PREFIX}/etc/beacon/host.json
cp ${HERE}/principals ${PREFIX}/principals; chown -R beacon: ${PREFIX}; chmod -R go-w ${PREFIX}
printf '%s\\n' "$2" >/etc/ssh/host-cert.pub
cp ${HERE}/sshd_config /etc/ssh/sshd_config.d/10-bench.conf
kill -HUP 1
`;

/** Boots them, and registers each at the CA, as an administrator whose `api` it is. Throws where one fails. */
export async function openFleet(
  lab: Lab,
  folder: string,
  number: number,
  api: CaApi,
  plain: PublicKey,
): Promise<readonly LabHost[]> {
  const ours = join(folder, 'fleet');
  await writeCommonFiles(ours, api, plain);
  const names = Array.from({ length: number }, (_, at) => `light-${String(at + 1).padStart(3, '0')}`);
  const hosts: LabHost[] = [];
  const boot = async (name: string): Promise<void> => {
    const { host } = await lab.boot(name, { form: 'light', binds: { [HERE]: ours } });
    const { certificate } = await api.registerHost({
      id: name,
      address: host.address,
      port: 22,
      logins: ['beacon'],
      labels: {},
      pools: ['sites'],
      host_key: host.hostKey.split(' ').slice(0, 2).join(' '),
    });
    await host.run(['sh', `${HERE}/set-up`, name, certificate]);
    hosts.push(host);
  };
  // A lab's network is made by the first.
  await boot(names.shift() ?? 'light-001');
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) await boot(name);
    }),
  );
  return hosts;
}

async function writeCommonFiles(ours: string, api: CaApi, plain: PublicKey): Promise<void> {
  const at = (name: string): string => join(ours, name);
  const write = (name: string, text: string | Buffer, mode = 0o644): void => {
    writeFileSync(at(name), text);
    chmodSync(at(name), mode);
  };
  mkdirSync(at('trust'), { recursive: true });
  copyFileSync(process.execPath, at('node'));
  chmodSync(at('node'), 0o755);
  await bundleGate(at('gate'), `${HERE}/node`);
  compileGate(at('gate'));
  // What they trust is signed here, and names the CA's keys.
  const trust = new ThrowAwayCa({ host: UNNAMED, login: 'beacon' }, () => new Date());
  const { user } = await api.authorityKeys();
  const root = { userCa: user.map(({ publicKey }) => publicKey.split(' ').slice(0, 2).join(' ')) };
  const files = await trust.publish({ krl: await api.revocationList(), root });
  for (const [name, content] of Object.entries(files)) write(`trust/${name}`, content);
  write('plain.pub', `${formatPublicKeyLine(plain)}\n`);
  write('host.json', formatHostIdentity({ host: UNNAMED, login: 'beacon', rootKey: lineOf(trust.rootKey) }));
  write('nothing', '#!/bin/sh\necho nothing\n', 0o755);
  const command = {
    summary: 'for a bench',
    timeout_seconds: 60,
    run_as: 'beacon',
    argv: [`${PREFIX}/commands/nothing`],
  };
  write('allowlist.json', JSON.stringify({ version: 1, commands: { 'bench.nothing': command } }));
  const gate = `exec /usr/bin/env -i BEACON_CERTIFICATE=%s ${HERE}/gate --rootless ${PREFIX}`;
  const principals = readFileSync(join(FILES, 'principals'), 'utf8');
  write(
    'principals',
    principals.replaceAll('/etc/beacon', `${PREFIX}/etc/beacon`).replace('beacon-gate %s', gate),
    0o755,
  );
  const dropIn = readFileSync(join(FILES, 'sshd_config'), 'utf8')
    .replaceAll('/etc/beacon', `${PREFIX}/etc/beacon`)
    .replace('/usr/lib/beacon/principals', `/bin/sh ${PREFIX}/principals`)
    .replace('beacon-principals', 'beacon');
  write('sshd_config', `HostCertificate /etc/ssh/host-cert.pub\nUsePAM no\n${dropIn}`);
  write('set-up', SET_UP);
}
