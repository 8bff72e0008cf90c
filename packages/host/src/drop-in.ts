/**
 * sshd's drop-in (DESIGN.md section 6): Beacon's own login inside of one `Match User`, personal logins inside of another,
 * so that nothing changes for anybody else; but for the one line that sshd takes only globally. Each directive is one row,
 * with how `sshd -T` prints it; those marked optional may be left out for an sshd that does not know them. Text only;
 * whether it takes effect is asked elsewhere.
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

/**
 * For the logins that persons enter by `beacon ssh`: the script forces nothing there and looks for revoked certificates
 * itself, for a damaged list would shut out the person's own keys too.
 */
const PERSONAL = new Set([
  'PubkeyAuthentication',
  'TrustedUserCAKeys',
  'AuthorizedPrincipalsFile',
  'AuthorizedPrincipalsCommand',
  'AuthorizedPrincipalsCommandUser',
  'CASignatureAlgorithms',
]);

/** All that stands in the drop-in. */
export interface DropIn {
  readonly login: string;
  readonly directives: readonly Directive[];
  readonly personal: readonly string[];
  /** The rows for each of them. */
  readonly personalDirectives: readonly Directive[];
  /** Addresses that sshd is told not to punish, for all logins; none where it does not know how, or knows it already. */
  readonly exempt: readonly string[];
}

/** The rows of this host, without those optional ones that its sshd does not know. */
export function dropInDirectives(userCa: readonly string[], unknown: readonly string[]): Directive[] {
  const algorithms = signatureAlgorithms(userCa);
  return ROWS.map(([keyword, given, effective, optional]) => {
    const value = keyword === 'CASignatureAlgorithms' ? algorithms : given;
    return { keyword, value, effective: effective ?? value, optional: optional === 'optional' };
  }).filter(({ keyword, optional }) => !(optional && unknown.includes(keyword.toLowerCase())));
}

/** The rows for personal logins. */
export function personalDirectives(userCa: readonly string[]): Directive[] {
  return dropInDirectives(userCa, []).filter(({ keyword }) => PERSONAL.has(keyword));
}

/** The drop-in's exact text. */
export function formatDropIn({ login, directives, personal, ...more }: DropIn): string {
  const block = (logins: string, rows: readonly Directive[]): string =>
    [`Match User ${logins}`, ...rows.map(({ keyword, value }) => `    ${keyword} ${value}`), ''].join('\n');
  return [
    more.exempt.length === 0 ? '' : `PerSourcePenaltyExemptList ${more.exempt.join(',')}\n`,
    block(login, directives),
    personal.length === 0 ? '' : block(personal.join(','), more.personalDirectives),
  ].join('');
}

/** What sshd must accept as a CA's signature, for these CA keys and no others; never SHA-1. */
function signatureAlgorithms(userCa: readonly string[]): string {
  const found = userCa.map((line) => {
    const { type } = parsePublicKeyLine(line).key;
    return type === 'ssh-rsa' ? 'rsa-sha2-512' : type;
  });
  return [...new Set(found)].join(',');
}
