/**
 * What OpenSSH's `ssh` is called with to reach a gate (DESIGN.md section 3.4; ATTACKS.md R1, R3, R4): no configuration
 * file, no agent and no identity but ours, host keys by certificate alone and of the CA's keys alone, nothing forwarded,
 * no terminal, and no command, for the host decides what runs. Pure.
 */
import { isIP } from 'node:net';
import { HOST_KEY_ALGORITHMS, NAMED_KEYS_ALONE } from '@beacon/ssh/client-options';
import type { PublicKey } from '@beacon/ssh/public-key';
import { BrokerError } from './error.ts';

/** A host that all connections go through. Its own login is the operator's, and opens no managed host. */
export interface JumpHost {
  readonly address: string;
  readonly port: number;
  readonly login: string;
  /** Its host key stands there, under `address` (and `[address]:port` when the port is not 22). */
  readonly knownHostsFile: string;
  /** A private key without a passphrase, or a key's public half where `agentSocket` holds the private one. */
  readonly identityFile: string;
  readonly agentSocket?: string;
}

export interface GateCall {
  readonly host: {
    readonly id: string;
    readonly address: string;
    readonly port: number;
    readonly authorities: readonly PublicKey[];
  };
  readonly login: string;
  readonly agentSocket: string;
  readonly certificateFile: string;
  readonly knownHostsFile: string;
  readonly revokedHostsFile: string;
  readonly sshPath: string;
  readonly proxyJump?: JumpHost;
  readonly connectTimeoutSeconds: number;
  readonly serverAliveSeconds: number;
}

/** So many unanswered signs of life end a connection. */
const SERVER_ALIVE_COUNT = 3;

/** The most that any name of a host may be made of; nothing here begins an option or means anything to a shell. */
const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;
const LOGIN = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/;
const PLAIN_PATH = /^\/[A-Za-z0-9_./-]+$/;

/**
 * The arguments behind `ssh`. The certificate is named by `IdentityFile` and not by `CertificateFile`: so ssh finds it in
 * the agent and offers it alone. With `CertificateFile` the agent would list the plain key too, and ssh would offer that
 * after a refusal, one more failed attempt towards the server's limit (seen on 9.2).
 * @throws BrokerError `host-unreachable` for an address that is none, `configuration` for a path that cannot be named.
 */
export function sshArguments(call: GateCall): readonly string[] {
  const { host } = call;
  if (!isAddress(host.address)) {
    throw new BrokerError(
      'host-unreachable',
      `the inventory's address of ${host.id} is neither a name nor an IP address: tell the CA's administrator`,
    );
  }
  return options([
    ['HostName', host.address],
    ['Port', String(host.port)],
    ['User', call.login],
    ['IdentityAgent', quote(call.agentSocket)],
    ['IdentityFile', quote(call.certificateFile)],
    ['HostKeyAlias', host.id],
    ['HostKeyAlgorithms', HOST_KEY_ALGORITHMS],
    ['CASignatureAlgorithms', signatureAlgorithms(host.authorities)],
    ['UserKnownHostsFile', quote(call.knownHostsFile)],
    ['RevokedHostKeys', quote(call.revokedHostsFile)],
    ...ourWay(call),
    ...(call.proxyJump === undefined ? [] : [['ProxyCommand', proxyCommand(call, call.proxyJump)] as const]),
  ]).concat('-T', '--', host.id);
}

/** What holds for the host and for the host before it. */
function ourWay(call: GateCall): readonly (readonly [string, string])[] {
  return [
    ...NAMED_KEYS_ALONE,
    ['BatchMode', 'yes'],
    ['AddKeysToAgent', 'no'],
    ['ClearAllForwardings', 'yes'],
    ['ForwardAgent', 'no'],
    ['PermitLocalCommand', 'no'],
    ['EscapeChar', 'none'],
    ['ConnectionAttempts', '1'],
    ['ConnectTimeout', String(call.connectTimeoutSeconds)],
    ['ServerAliveInterval', String(call.serverAliveSeconds)],
    ['ServerAliveCountMax', String(SERVER_ALIVE_COUNT)],
    ['TCPKeepAlive', 'yes'],
    // What sshd says before it closes the door stands there alone: that too many are waiting, say.
    ['LogLevel', 'DEBUG1'],
  ];
}

/**
 * How the way leads through another host. Not by `ProxyJump`, whose second ssh would read the account's own keys and
 * known hosts. A shell reads this text, so nothing stands in it that means anything to one.
 */
function proxyCommand(call: GateCall, jump: JumpHost): string {
  const plain = (form: RegExp, text: string, what: string): string => {
    if (form.test(text) || (form === HOST_NAME && isIP(text) !== 0)) return text;
    throw new BrokerError('configuration', `ssh.proxy_jump: ${JSON.stringify(text)} is no plain ${what}`);
  };
  const words = options([
    ['HostName', plain(HOST_NAME, jump.address, 'address')],
    ['Port', String(jump.port)],
    ['User', plain(LOGIN, jump.login, 'login')],
    ['IdentityFile', plain(PLAIN_PATH, jump.identityFile, 'path')],
    ['IdentityAgent', jump.agentSocket === undefined ? 'none' : plain(PLAIN_PATH, jump.agentSocket, 'path')],
    ['CertificateFile', 'none'],
    ['UserKnownHostsFile', plain(PLAIN_PATH, jump.knownHostsFile, 'path')],
    ...ourWay(call).filter(([name]) => name !== 'LogLevel' && name !== 'ClearAllForwardings'),
    ['LogLevel', 'ERROR'],
  ]);
  const ssh = plain(PLAIN_PATH, call.sshPath, 'path');
  return [ssh, ...words, '-W', '[%h]:%p', '--', jump.address].join(' ');
}

function options(pairs: readonly (readonly [string, string])[]): string[] {
  return ['-F', 'none', ...pairs.flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}

function isAddress(text: string): boolean {
  return isIP(text) !== 0 ? !text.includes('%') : HOST_NAME.test(text);
}

/** What the host CA's keys sign with; a certificate of any other is not even looked at. */
function signatureAlgorithms(authorities: readonly PublicKey[]): string {
  const names = authorities.flatMap(({ type }) =>
    type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type],
  );
  return [...new Set(names)].join(',');
}

/** A path as a value in ssh's configuration: `%` expands there, `${}` reads the environment, quotes end the value. */
function quote(path: string): string {
  if (!path.startsWith('/') || /["\\\n$]/.test(path)) {
    throw new BrokerError(
      'configuration',
      'the folder for temporary files cannot be named to ssh: set TMPDIR to a plain path',
    );
  }
  return `"${path.replaceAll('%', '%%')}"`;
}
