/**
 * What the system's `ssh` is called with. Everything that decides whom we trust and what we show comes from the CA's
 * answer and is given by `-o`, which wins over any file; the person's own configuration is read only when they name it
 * (ATTACKS.md R1, R3, R4): no default identities, no agent but ours, no known_hosts but the one line of the CA, host
 * certificates alone.
 */
import { isAbsolute } from 'node:path';
import { HOST_KEY_ALGORITHMS, NAMED_KEYS_ALONE } from '@beacon/ssh/client-options';
import { usageError } from './error.ts';

/** Options that would bring in other keys, or other options; by their old names too, which ssh still takes. */
const NEVER = [
  'identityfile2',
  'certificatefile',
  'pkcs11provider',
  'smartcarddevice',
  'addkeystoagent',
  'include',
  'host',
  'match',
];

export interface SshCall {
  readonly host: { readonly id: string; readonly address: string; readonly port: number };
  readonly login: string;
  /** The socket of the agent that holds the certificate's key. */
  readonly agentSocket: string;
  readonly certificateFile: string;
  readonly knownHostsFile: string;
  /** The CA's revocation list: host certificates in it are refused. */
  readonly revokedHostsFile: string;
  /** The person's own configuration file; none when absent. */
  readonly configurationFile?: string;
  /** `KEY=VALUE`, as they are given to `-o`. */
  readonly options: readonly string[];
  readonly tty: 'ask' | 'force' | 'none';
  readonly command: readonly string[];
}

/**
 * Options that are the CA's to say, as ssh_config(5) has them. The certificate is named by `IdentityFile` and not by
 * `CertificateFile`: so ssh finds it in the agent and offers it alone. With `CertificateFile` the agent would have to list
 * the plain key too, and ssh would offer that after a refusal, one more failed attempt towards the server's limit (seen on
 * 9.2).
 */
function fixedOptions(call: SshCall): readonly (readonly [string, string])[] {
  return [
    ...NAMED_KEYS_ALONE,
    ['IdentityAgent', quote(call.agentSocket)],
    ['IdentityFile', quote(call.certificateFile)],
    ['HostKeyAlias', call.host.id],
    ['HostKeyAlgorithms', HOST_KEY_ALGORITHMS],
    ['UserKnownHostsFile', quote(call.knownHostsFile)],
    ['RevokedHostKeys', quote(call.revokedHostsFile)],
    ['PubkeyAuthentication', 'yes'],
    ['HostName', call.host.address],
    ['Port', String(call.host.port)],
    ['User', call.login],
  ];
}

/** The arguments behind `ssh`. Throws CliError `usage` for an option that would change whom we trust. */
export function sshArguments(call: SshCall): readonly string[] {
  const fixed = fixedOptions(call);
  const names = new Set([...fixed.map(([name]) => name.toLowerCase()), ...NEVER]);
  for (const option of call.options) {
    const name = /^([A-Za-z0-9]+)[= ]./.exec(option)?.[1];
    if (name === undefined) throw usageError(`${JSON.stringify(option)} is no ssh option: write KEY=VALUE`);
    if (names.has(name.toLowerCase()))
      throw usageError(`${name} comes from the CA's answer and cannot be changed`);
  }
  return [
    '-F',
    call.configurationFile ?? 'none',
    ...fixed.flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...call.options.flatMap((option) => ['-o', option]),
    ...(call.tty === 'force' ? ['-tt'] : call.tty === 'none' ? ['-T'] : []),
    '--',
    call.host.id,
    ...call.command,
  ];
}

/** A path as a value in ssh's configuration: `%` expands there, `${}` reads the environment, quotes end the value. */
export function quote(path: string): string {
  if (!isAbsolute(path) || /["\\\n$]/.test(path)) {
    throw usageError(
      `${JSON.stringify(path)} cannot be named in ssh's configuration: set TMPDIR to a plain path`,
    );
  }
  return `"${path.replaceAll('%', '%%')}"`;
}
