/**
 * The gate's subcommands, for the bundled gate on a host and for `beacon gate …`. Without a word it serves the session
 * that sshd has opened: that is the only form which the sudo rule lets the login call.
 */
import { parseArgs } from 'node:util';
import { checkAllowlist } from './check.ts';
import { contractOf, describeContract } from './contract.ts';
import { GateError } from './error.ts';
import { readAllowlist } from './gate.ts';
import { placesBelow } from './places.ts';
import type { Owner } from './safe-path.ts';
import { recoverAll, serve } from './serve.ts';

const BAD_ALLOWLIST = 78;

const HELP = `Usage: beacon gate check [--allowlist FILE]    print the contract in words, with what would keep commands from running
       beacon gate list [--allowlist FILE]     print the contract as JSON
       beacon gate recover                     stop and take back what gates that died have left

The allowlist is /etc/beacon/allowlist.json by default. Exit status: 0, or 78 where the allowlist is refused or has defects.
`;

/** Does what the words say and returns the exit status. Throws GateError. */
export async function main(argv: readonly string[]): Promise<number> {
  // The one form in which somebody waits for every millisecond.
  if (argv.length === 0) return serve({ rootless: undefined, recover: recoverCommand(undefined) });
  const { values, positionals } = read(argv);
  if (values.help === true) return print(HELP);
  const [word, ...rest] = positionals;
  if (rest.length > 0) throw new GateError('usage', `unexpected ${JSON.stringify(rest[0])}\n${HELP}`);
  const { rootless } = values;
  switch (word) {
    case undefined:
      return serve({ rootless, recover: recoverCommand(rootless) });
    case 'recover':
      return print(`settled ${await recoverAll(rootless)} sessions\n`);
    case 'check':
      return check(values.allowlist ?? placesBelow('/').allowlist);
    case 'list':
      return print(
        `${JSON.stringify(contractOf(readList(values.allowlist ?? placesBelow('/').allowlist)))}\n`,
      );
    default:
      throw new GateError('usage', `there is no command ${JSON.stringify(word)}\n${HELP}`);
  }
}

function check(file: string): number {
  const allowlist = readList(file);
  print(describeContract(allowlist));
  const findings = checkAllowlist(allowlist, placesBelow('/').passwd, ownFiles());
  for (const { kind, command, what } of findings) {
    print(`${kind === 'defect' ? 'DEFECT' : 'note  '} ${command}: ${what}\n`);
  }
  return findings.some(({ kind }) => kind === 'defect') ? BAD_ALLOWLIST : 0;
}

function readList(file: string): ReturnType<typeof readAllowlist> {
  return readAllowlist(file, ownFiles());
}

/** Who writes an allowlist is looked at for root on a host, and for oneself where one is only trying. */
function ownFiles(): Owner {
  return { uid: process.getuid?.() ?? 0, below: '/' };
}

function recoverCommand(rootless: string | undefined): string[] {
  const script = process.argv[1];
  const program = script === undefined ? [process.execPath] : [process.execPath, script];
  return [...program, 'recover', ...(rootless === undefined ? [] : ['--rootless', rootless])];
}

function read(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        rootless: { type: 'string' },
        allowlist: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
      allowPositionals: true,
    });
  } catch (error) {
    throw new GateError('usage', `${error instanceof Error ? error.message : 'unknown option'}\n${HELP}`);
  }
}

function print(text: string): 0 {
  process.stdout.write(text);
  return 0;
}
