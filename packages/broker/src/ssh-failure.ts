/**
 * What became of a connection that brought no gate, told from what `ssh` said and its exit status, in words for the person
 * who asked for the run. The texts are those of OpenSSH 8.2 to 10 without a locale. A hostile host can write some of them
 * itself: it gains another message, never a connection. What ssh said stands in the cause, for the log alone.
 */
import { BrokerError, type BrokerErrorCode } from './error.ts';

export interface SshEnd {
  /** What ssh wrote to its standard error, or the end of it. */
  readonly stderr: string;
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it was not even started. */
  readonly error?: Error;
}

export interface SshFailure {
  readonly error: BrokerError;
  /** Whether sshd never asked who we are, and said that it had no room: then there is no harm in another try. */
  readonly isBusy: boolean;
}

interface Rule {
  readonly when: RegExp;
  readonly code: BrokerErrorCode;
  readonly say: (host: string) => string;
  readonly isBusy?: boolean;
}

/** The first that fits is it, so what is certain comes first. */
const BEFORE_LOGIN: readonly Rule[] = [
  {
    when: /banner line \d+: Exceeded MaxStartups/,
    code: 'host-busy',
    say: (host) =>
      `${host} turns connections away, because too many are logging in there: try again in a minute`,
    isBusy: true,
  },
  {
    when: /banner line \d+: Not allowed at this time/,
    code: 'host-busy',
    say: (host) =>
      `the sshd of ${host} turns this broker's address away for a while (PerSourcePenalties): wait some minutes; its operator can exempt the broker by PerSourcePenaltyExemptList`,
  },
  {
    when: /Could not resolve hostname/,
    code: 'host-unreachable',
    say: (host) => `the name that the inventory has for ${host} cannot be found: check its address, and DNS`,
  },
  {
    when: /Connection timed out during banner exchange/,
    code: 'host-unreachable',
    say: (host) =>
      `something at the address of ${host} takes connections and says nothing: check that sshd is well there, and whether it is overloaded`,
  },
  {
    when: /connect to (?:host|address) .*: Connection refused/,
    code: 'host-unreachable',
    say: (host) =>
      `nothing listens at the address and port of ${host}: check that sshd runs there, and the port`,
  },
  {
    when: /connect to (?:host|address) .*: (?:Connection|Operation) timed out/,
    code: 'host-unreachable',
    say: (host) =>
      `${host} did not answer in time: check that it is up, its address, and the firewalls on the way`,
  },
  {
    when: /connect to (?:host|address) .*: (?:No route to host|Network is unreachable|Cannot assign|Host is down)/,
    code: 'host-unreachable',
    say: (host) => `there is no way to the address of ${host} from here: check the address, and the network`,
  },
  {
    when: /REVOKED HOST KEY|Certificate invalid: .*revoked|Host key .* revoked by file/,
    code: 'host-key-untrusted',
    say: (host) =>
      `the certificate of ${host} was revoked: nothing was sent; its operator enrols the host anew if it is still ours`,
  },
  {
    when: /Certificate invalid: expired/,
    code: 'host-key-untrusted',
    say: (host) =>
      `the host certificate of ${host} has expired: its operator looks why beacon host sync did not renew it (beacon host check)`,
  },
  {
    when: /Certificate invalid: not yet valid/,
    code: 'clock-skew',
    say: (host) => `the host certificate of ${host} is not valid yet by the broker's clock: check the clocks`,
  },
  {
    when: /Certificate invalid:/,
    code: 'host-key-untrusted',
    say: (host) =>
      `what answers at the address of ${host} has a certificate of another host: check its address in the inventory`,
  },
  {
    when: /no matching host key type found/,
    code: 'host-key-untrusted',
    say: (host) =>
      `what answers at the address of ${host} has no host certificate: check the address, and that beacon host init was done there (beacon host check)`,
  },
  {
    when: /no matching (?:key exchange method|cipher|MAC|compression) /,
    code: 'host-unreachable',
    say: (host) =>
      `ssh here and the sshd of ${host} know no algorithm in common: its operator updates one of them`,
  },
  {
    when: /Host key verification failed|host key is known for|HOST IDENTIFICATION HAS CHANGED/,
    code: 'host-key-untrusted',
    say: (host) =>
      `what answers at the address of ${host} has no certificate of our host CA for it: somebody may be in between, or the host was set up by another CA; check the address, then beacon host check there`,
  },
  {
    when: /Permission denied|Too many authentication failures/,
    code: 'certificate-refused',
    say: (host) =>
      `${host} does not take the certificate: it was just revoked, the host's trust is stale or of another CA (beacon host check there), its clock is wrong by more than a minute, or it does not see us come from the source address that the certificate allows; the host's sshd log says which`,
  },
  {
    when: /kex_exchange_identification: (?:Connection closed|read: Connection reset|client sent|.*closed by remote)|ssh_exchange_identification:/,
    code: 'host-busy',
    say: (host) =>
      `${host} closes connections before it says anything: too many may be logging in there, or its sshd keeps our address out; try again in a minute`,
    isBusy: true,
  },
];

/** Told by the status of the gate, or of what should have become one, after ssh was let in. */
const AFTER_LOGIN: Readonly<Record<number, Omit<Rule, 'when'>>> = {
  75: {
    code: 'gate-busy',
    say: (host) => `all gates of ${host} are in use: try again when one of its runs has ended`,
    isBusy: true,
  },
  77: {
    code: 'gate-refused',
    say: (host) =>
      `${host} let the certificate in and opened no gate: its operator runs beacon host check there`,
  },
  78: {
    code: 'gate-refused',
    say: (host) =>
      `the allowlist of ${host} is refused by its own gate: its operator runs beacon gate check there`,
  },
};

/** Of a host behind a jump host nothing was heard yet. */
const NO_WAY: Omit<Rule, 'when'> = {
  code: 'jump-host',
  say: (host) =>
    `there is no way through the jump host to ${host}: the broker's operator checks ssh.proxy_jump (login, key, known hosts), and that the jump host reaches ${host}`,
};

/** Why there is no session. `host` is its id. */
export function explainSsh(host: string, end: SshEnd, isBehindJump: boolean): SshFailure {
  if (end.error !== undefined) return { error: explainStart(end.error), isBusy: false };
  const cause = new Error(
    `ssh ended with ${end.status ?? end.signal ?? 'nothing'}: ${lastLines(end.stderr)}`,
  );
  const isIn = isLoggedIn(end.stderr);
  const rule = isIn ? AFTER_LOGIN[end.status ?? -1] : ruleBeforeLogin(end.stderr, isBehindJump);
  if (rule !== undefined) {
    return {
      error: new BrokerError(rule.code, rule.say(host), { cause }),
      isBusy: rule.isBusy === true,
    };
  }
  const error = isIn
    ? new BrokerError(
        'session-lost',
        `the connection to ${host} ended before its gate had said anything; nothing was sent to it: try again, and if it stays so its operator runs beacon host check there`,
        { cause },
      )
    : new BrokerError(
        'host-unreachable',
        `the connection to ${host} failed (${explainEnd(end)}); nothing was sent: try again, and if it stays so tell its operator`,
        { cause },
      );
  return { error, isBusy: false };
}

function ruleBeforeLogin(stderr: string, isBehindJump: boolean): Omit<Rule, 'when'> | undefined {
  const rule = BEFORE_LOGIN.find(({ when }) => when.test(stderr));
  // What the jump host's ssh says has the same form.
  const isHeard = /^debug1: (?:Remote protocol version|kex_exchange_identification: banner line) /m.test(
    stderr,
  );
  return isBehindJump && !isHeard ? NO_WAY : rule;
}

export function explainStart(cause: Error): BrokerError {
  return 'code' in cause && cause.code === 'ENOENT'
    ? new BrokerError('ssh-missing', "the broker has no ssh: its operator installs OpenSSH's client there", {
        cause,
      })
    : new BrokerError(
        'ssh-missing',
        'the broker cannot start ssh: its operator looks for the limits of processes and open files there',
        { cause },
      );
}

/** Why a session that was open is gone, as a part of a sentence. */
export function explainEnd({ stderr, status, signal }: SshEnd): string {
  if (/Timeout, server .* not responding/.test(stderr)) return 'the host stopped answering';
  if (/Connection reset|Broken pipe|Connection closed|closed by remote host|connection abort/i.test(stderr)) {
    return 'the connection was cut';
  }
  if (signal !== null) return `ssh was ended by ${signal}`;
  if (status === 255) return 'the connection was cut';
  return 'the gate ended without its last word';
}

export function isLoggedIn(stderr: string): boolean {
  return /^Authenticated to /m.test(stderr);
}

function lastLines(stderr: string): string {
  return stderr.trimEnd().split('\n').slice(-12).join(' | ').slice(-2000);
}
