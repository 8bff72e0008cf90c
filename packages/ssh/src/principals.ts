/**
 * Lines of an AuthorizedPrincipalsFile, or of what an AuthorizedPrincipalsCommand prints (sshd_config(5), and sshd(8) for the options):
 * one principal, before it `restrict` and a forced command where wanted. Other options are neither written nor read.
 *
 * sshd takes the options apart with rules of its own: inside quotes only `\"` is an escape, so a command that ends in a backslash cannot
 * be written; and it cuts a principals line at the first `#`, quoted or not, which would leave a line without its principal.
 */
import { SshError } from './error.ts';

/** One principal that may enter, and how. */
export interface PrincipalsLine {
  readonly principal: string;
  /** No pty, no forwarding, no `~/.ssh/rc`. */
  readonly restrict: boolean;
  /** Run by the login's shell instead of whatever is asked for. */
  readonly command?: string;
}

/** As sshd's own limit of a certificate's extension, with the room that base64 needs. */
const MAX_COMMAND_CHARACTERS = 512 * 1024;
const PRINCIPAL = /^[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,255}$/;
const LINE = /^(?:(restrict)(?:,| ))?(?:command="((?:[^"\\]|\\"|\\(?!"))*)" )?([^ ",]+)$/;

/** The line, without a newline. @throws SshError `principals-malformed` for what sshd would read in another way. */
export function formatPrincipalsLine({ principal, restrict, command }: PrincipalsLine): string {
  checkPrincipal(principal);
  const options = restrict ? ['restrict'] : [];
  if (command !== undefined) {
    checkCommand(command);
    options.push(`command="${command.replaceAll('"', '\\"')}"`);
  }
  return [...(options.length > 0 ? [options.join(',')] : []), principal].join(' ');
}

/** Reads a line of exactly the form that `formatPrincipalsLine` writes; one newline may end it. Throws `principals-malformed`. */
export function parsePrincipalsLine(line: string): PrincipalsLine {
  const text = line.replace(/\n$/, '');
  const [, restrict, quoted, principal] = LINE.exec(text) ?? [];
  if (principal === undefined) {
    throw malformed('this is no line of the form "restrict,command=\\"…\\" principal"');
  }
  checkPrincipal(principal);
  const command = quoted?.replaceAll('\\"', '"');
  const parsed = {
    principal,
    restrict: restrict !== undefined,
    ...(command === undefined ? {} : { command }),
  };
  if (formatPrincipalsLine(parsed) !== text) {
    throw malformed('options are joined by one comma and end before one space');
  }
  return parsed;
}

function checkPrincipal(principal: string): void {
  if (!PRINCIPAL.test(principal)) {
    throw malformed(
      `${JSON.stringify(principal.slice(0, 80))} is no principal: letters, digits and _ . @ : - only`,
    );
  }
}

function checkCommand(command: string): void {
  if (command === '' || command.length > MAX_COMMAND_CHARACTERS || !command.isWellFormed()) {
    throw malformed('a forced command is empty, too long or has half a character');
  }
  if (/[\p{Cc}#]/u.test(command) || command.endsWith('\\')) {
    throw malformed('a forced command has a control character or #, or ends in a backslash');
  }
}

function malformed(fault: string): SshError {
  return new SshError('principals-malformed', `principals: ${fault}`);
}
