/**
 * sshd's drop-in for Beacon's own login (DESIGN.md section 6): all of it inside `Match User`, so that nothing changes for
 * anybody else. Each directive is one row, with how `sshd -T` prints it; those marked optional may be left out for an
 * sshd that does not know them. Text only; whether it takes effect is asked elsewhere.
 */
import { parsePublicKeyLine } from '@beacon/ssh/public-key';

export const DROP_IN = '/etc/ssh/sshd_config.d/10-beacon.conf';
export const TRUST_FOLDER = '/etc/beacon/trust';
export const PRINCIPALS_LOGIN = 'beacon-principals';

/** A row: the keyword, its value, what `sshd -T` says where that differs, and whether an old sshd may lack it. */
export interface Directive {
  readonly keyword: string;
  readonly value: string;
  readonly effective: string;
  readonly optional: boolean;
}

const ROWS: readonly (readonly [
  keyword: string,
  value: string,
  effective?: string,
  optional?: 'optional',
])[] = [
  ['PubkeyAuthentication', 'yes'],
  ['AuthenticationMethods', 'publickey'],
  ['TrustedUserCAKeys', `${TRUST_FOLDER}/current/user_ca.pub`],
  ['RevokedKeys', `${TRUST_FOLDER}/current/krl`],
  ['AuthorizedPrincipalsFile', 'none'],
  ['AuthorizedPrincipalsCommand', '/usr/lib/beacon/principals %u %t %k'],
  ['AuthorizedPrincipalsCommandUser', PRINCIPALS_LOGIN],
  // A plain key would open a shell where a global command or file names one.
  ['AuthorizedKeysFile', 'none'],
  ['AuthorizedKeysCommand', 'none'],
  // A global forced command would win over the gate.
  ['ForceCommand', 'none'],
  ['ChrootDirectory', 'none'],
  ['CASignatureAlgorithms', ''],
  ['DisableForwarding', 'yes'],
  ['PermitTunnel', 'no'],
  ['PermitTTY', 'no'],
  ['PermitUserRC', 'no'],
  ['AcceptEnv', 'BEACON_NONE'],
  ['MaxSessions', '1'],
  ['UnusedConnectionTimeout', '60s', '60', 'optional'],
];

/** The rows of this host, without those optional ones that its sshd does not know. */
export function dropInDirectives(userCa: readonly string[], unknown: readonly string[]): Directive[] {
  const algorithms = signatureAlgorithms(userCa);
  return ROWS.map(([keyword, given, effective, optional]) => {
    const value = keyword === 'CASignatureAlgorithms' ? algorithms : given;
    return { keyword, value, effective: effective ?? value, optional: optional === 'optional' };
  }).filter(({ keyword, optional }) => !(optional && unknown.includes(keyword.toLowerCase())));
}

/** The drop-in's exact text. */
export function formatDropIn(login: string, directives: readonly Directive[]): string {
  const lines = directives.map(({ keyword, value }) => `    ${keyword} ${value}\n`);
  return `Match User ${login}\n${lines.join('')}`;
}

/** What sshd must accept as a CA's signature, for these CA keys and no others; never SHA-1. */
function signatureAlgorithms(userCa: readonly string[]): string {
  const found = userCa.map((line) => {
    const { type } = parsePublicKeyLine(line).key;
    return type === 'ssh-rsa' ? 'rsa-sha2-512' : type;
  });
  return [...new Set(found)].join(',');
}
