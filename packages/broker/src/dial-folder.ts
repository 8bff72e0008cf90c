/**
 * What `ssh` reads for one connection: the certificate, whom to believe about the host, what was revoked, all public, and
 * the socket of the agent that holds the key, in a folder of 0700. Gone with `remove`; what a broker that was killed has
 * left, the next one on this machine removes.
 */
import { randomBytes } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObtainedCertificate } from '@beacon/client';
import { openAgent } from '@beacon/ssh/agent-server';
import { formatKnownHost } from '@beacon/ssh/known-hosts';
import { decodeKrl } from '@beacon/ssh/krl';
import { BrokerError } from './error.ts';

export interface DialFolder {
  readonly paths: {
    readonly agentSocket: string;
    readonly certificateFile: string;
    readonly knownHostsFile: string;
    readonly revokedHostsFile: string;
  };
  /** Ends the agent, too. */
  remove(): Promise<void>;
}

/** Of this process: in a container the one after it has the same number. */
const MARK = randomBytes(4).toString('hex');
const NAME = /^beacon-gate-([1-9][0-9]*)-(?:([0-9a-f]{8})-)?/;

/** Throws BrokerError `file` where it cannot be made, `ca-refused` for a revocation list that is not whole. */
export async function makeDialFolder(
  obtained: ObtainedCertificate,
  revokedHosts: Buffer,
  directory = tmpdir(),
): Promise<DialFolder> {
  requireWhole(revokedHosts);
  let folder: string | undefined;
  const remove = async (): Promise<void> => {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  };
  try {
    folder = await mkdtemp(join(directory, `beacon-gate-${process.pid}-${MARK}-`));
    const { certificate, grant, host, line, signer } = obtained;
    const at = (name: string): string => join(folder ?? directory, name);
    const agent = await openAgent({
      identities: [{ blob: certificate.blob, comment: grant, signer }],
      directory: folder,
    });
    const knownHosts = host.authorities
      .map((key) => `${formatKnownHost({ host: host.id, port: 22, key, isAuthority: true })}\n`)
      .join('');
    const paths = {
      agentSocket: agent.socketPath,
      certificateFile: at('certificate.pub'),
      knownHostsFile: at('known_hosts'),
      revokedHostsFile: at('revoked_hosts'),
    };
    const removeAll = async (): Promise<void> => {
      await agent.close();
      await remove();
    };
    try {
      await Promise.all([
        writeFile(paths.certificateFile, `${line}\n`, { mode: 0o600 }),
        writeFile(paths.knownHostsFile, knownHosts, { mode: 0o600 }),
        writeFile(paths.revokedHostsFile, revokedHosts, { mode: 0o600 }),
      ]);
    } catch (error) {
      await removeAll();
      throw error;
    }
    return { paths, remove: removeAll };
  } catch (cause) {
    await remove();
    throw new BrokerError(
      'file',
      'the broker cannot write what ssh needs into its folder for temporary files: its operator looks for space and permissions',
      { cause },
    );
  }
}

/** Removes what processes that are no longer there have left in `directory`. */
export function sweepDialFolders(directory = tmpdir()): void {
  for (const name of readdirSync(directory)) {
    const [, pid, mark] = NAME.exec(name) ?? [];
    if (pid === undefined) continue;
    if (Number(pid) === process.pid ? mark === MARK : isAlive(Number(pid))) continue;
    const folder = join(directory, name);
    try {
      if (statSync(folder).uid === process.getuid?.()) rmSync(folder, { recursive: true, force: true });
    } catch {
      // Somebody else's, or gone meanwhile.
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** ssh would believe a list that was cut between two sections. */
function requireWhole(list: Buffer): void {
  try {
    if (decodeKrl(list).sealed) return;
  } catch (cause) {
    throw damaged(cause);
  }
  throw damaged();
}

function damaged(cause?: unknown): BrokerError {
  return new BrokerError(
    'ca-refused',
    "the CA's revocation list is damaged: try again, then tell its operator",
    {
      cause,
    },
  );
}
