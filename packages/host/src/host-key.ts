/**
 * The key by which this machine speaks for itself to the CA, and which its host certificate is for: one of those that sshd
 * itself uses, asked of `sshd -T` and never guessed; of an enrolled host the one that it enrolled with. It is read where it lies, by root, and stays in this process.
 */

import { parseCertificateLine } from '@beacon/ssh/certificate';
import { SshError } from '@beacon/ssh/error';
import { type OpenedPrivateKey, openPrivateKey } from '@beacon/ssh/key';
import { isSameKey, type PublicKey, rsaBits } from '@beacon/ssh/public-key';
import type { Signer } from '@beacon/ssh/signature';
import { readIfThere } from './durable-file.ts';
import { HostError } from './error.ts';
import { statOf } from './facts.ts';
import { readHostCertificate } from './host-certificate.ts';
import type { Machine } from './machine.ts';
import { askSshd } from './sshd.ts';

export interface HostKey {
  /** The private key's file; sshd's `HostKey`. */
  readonly path: string;
  readonly signer: Signer;
}

/** The best first. */
const TYPES = ['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521', 'ssh-rsa'];
const LEAST_RSA_BITS = 3_072;
const OTHERS = 0o077;

/** Throws HostError `sshd-refuses`, `host-key-missing` with what is wrong with each key that sshd names. */
export async function openHostKey(machine: Machine): Promise<HostKey> {
  const asked = askSshd(machine, machine.find('sshd') ?? '/usr/sbin/sshd', 'root');
  if ('refusal' in asked) {
    throw new HostError('sshd-refuses', `sshd refuses its configuration: ${asked.refusal}: put that right`);
  }
  const offered = asked.settings.get('hostkeyalgorithms')?.[0]?.split(',');
  const usable: (HostKey & { readonly rank: number })[] = [];
  const reasons: string[] = [];
  for (const path of asked.settings.get('hostkey') ?? []) {
    const opened = await openKey(machine, path, offered);
    if (typeof opened === 'string') reasons.push(`${path}: ${opened}`);
    else usable.push({ path, signer: opened.signer, rank: TYPES.indexOf(opened.publicKey.type) });
  }
  // Another key that came later does not speak for a host that is known by this one.
  const enrolled = usable.find(({ signer }) => isCertified(machine, signer.publicKey));
  const best = enrolled ?? usable.sort((a, b) => a.rank - b.rank)[0];
  if (best !== undefined) return { path: best.path, signer: best.signer };
  const why = reasons.length === 0 ? 'sshd names none' : reasons.join('; ');
  throw new HostError(
    'host-key-missing',
    `sshd has no host key that a host certificate can be made for (${why}): make one with ssh-keygen -A`,
  );
}

/** Whether the host certificate that lies here is for this key. */
function isCertified(machine: Machine, key: PublicKey): boolean {
  const line = readHostCertificate(machine);
  try {
    return line !== undefined && isSameKey(parseCertificateLine(line).publicKey, key);
  } catch (error) {
    if (error instanceof SshError) return false;
    throw error;
  }
}

/** The key, or why it cannot be used. */
async function openKey(
  machine: Machine,
  path: string,
  offered: readonly string[] | undefined,
): Promise<OpenedPrivateKey | string> {
  const text = readIfThere(machine.at(path))?.toString('latin1');
  const stats = statOf(machine, path);
  if (text === undefined || stats === undefined) return 'it is not there';
  if (Number(stats.uid) !== 0 || (Number(stats.mode) & OTHERS) !== 0) return 'others than root can read it';
  let opened: OpenedPrivateKey;
  try {
    opened = await openPrivateKey(text);
  } catch (error) {
    if (error instanceof SshError) return error.message;
    throw error;
  }
  const { type } = opened.publicKey;
  if (!TYPES.includes(type)) return `a key of type ${type} gets no certificate`;
  if ((rsaBits(opened.publicKey) ?? LEAST_RSA_BITS) < LEAST_RSA_BITS) return 'it is a short RSA key';
  if (offered !== undefined && !offered.some((name) => isCertificateOf(name, type))) {
    return `HostKeyAlgorithms of sshd has no certificate for ${type}`;
  }
  return opened;
}

function isCertificateOf(algorithm: string, type: string): boolean {
  if (type === 'ssh-rsa') return /^rsa-sha2-(256|512)-cert-v01@openssh\.com$/.test(algorithm);
  return algorithm === `${type}-cert-v01@openssh.com`;
}
