/**
 * What every `ssh` that a program of ours starts is told about whom to believe and what to show, as ssh_config(5) has it:
 * no known hosts but those that are named, no key but the one that is named, no way in but by key, and no connection that
 * was made for somebody else. Given by `-o`, which wins over any file.
 */

/** Host keys are believed by certificate alone; SHA-1 is not among them. */
export const HOST_KEY_ALGORITHMS = [
  'ssh-ed25519-cert-v01@openssh.com',
  'ecdsa-sha2-nistp256-cert-v01@openssh.com',
  'ecdsa-sha2-nistp384-cert-v01@openssh.com',
  'ecdsa-sha2-nistp521-cert-v01@openssh.com',
  'rsa-sha2-512-cert-v01@openssh.com',
  'rsa-sha2-256-cert-v01@openssh.com',
].join(',');

/** Begins with a leave: `KnownHostsCommand` is known from OpenSSH 8.5 on. */
export const NAMED_KEYS_ALONE: readonly (readonly [option: string, value: string])[] = [
  ['IgnoreUnknown', 'KnownHostsCommand'],
  ['IdentitiesOnly', 'yes'],
  ['GlobalKnownHostsFile', 'none'],
  ['KnownHostsCommand', 'none'],
  ['StrictHostKeyChecking', 'yes'],
  ['VerifyHostKeyDNS', 'no'],
  ['CheckHostIP', 'no'],
  ['UpdateHostKeys', 'no'],
  ['CanonicalizeHostname', 'no'],
  ['PreferredAuthentications', 'publickey'],
  ['PasswordAuthentication', 'no'],
  ['KbdInteractiveAuthentication', 'no'],
  ['HostbasedAuthentication', 'no'],
  ['GSSAPIAuthentication', 'no'],
  ['ControlMaster', 'no'],
  ['ControlPath', 'none'],
];
