/**
 * `beacon run`: one command of a host, or a procedure, through the broker, with its output as it comes and its exit
 * status. Ctrl-C cancels the run, and what it began is taken back; the second one leaves it running.
 */
import type { Run, RunOrder } from '@beacon/client';
import { isName, nameForms } from '@beacon/protocol/name';
import { type BrokerChoice, openBroker } from './broker.ts';
import type { Context } from './context.ts';
import { usageError } from './error.ts';
import { readSecrets, type SecretOptions } from './run-secrets.ts';
import { runJson } from './run-text.ts';
import { watchRun } from './run-watch.ts';
import { parseSshTarget } from './ssh-target.ts';

export interface RunOptions extends BrokerChoice, SecretOptions {
  readonly procedure?: string;
  readonly detach: boolean;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** The exit status of the remote command. Failures of ours are thrown; `main.ts` makes 255 of them. */
export async function run(
  context: Context,
  target: string,
  words: readonly string[],
  options: RunOptions,
): Promise<number> {
  const { host, login } = parseSshTarget(target);
  const { what, params } = parseWords(words, options.procedure);
  const secrets = await readSecrets(options);
  const order: RunOrder = {
    host,
    ...(login === undefined ? {} : { login }),
    params,
    ...(secrets === undefined ? {} : { secrets }),
    ...what,
  };
  const { api } = await openBroker(context, options);
  const { run: made } = await api.createRun(order);
  if (options.detach) {
    if (options.json) context.terminal.json({ run: runJson(made) });
    else context.terminal.out(made.id);
    return 0;
  }
  announce(context, made, options);
  return watchRun(context, api, made.id, {
    json: options.json,
    quiet: options.quiet,
    after: 0,
    onInterrupt: async () => {
      context.terminal.talk(
        'beacon: cancelling; what began is taken back. Ctrl-C again leaves it and does not wait',
      );
      await api.wish(made.id, 'cancel');
    },
  });
}

function announce({ terminal }: Context, made: Run, { json, quiet }: RunOptions): void {
  if (json) terminal.json({ run: runJson(made) });
  else if (!quiet) terminal.talk(`beacon: run ${made.id}: ${made.title} on ${made.login}@${made.host}`);
}

type What = { readonly command: string } | { readonly procedure: string };

/** `COMMAND [key=value…]`, or with a procedure `[key=value…]`. Throws CliError `usage`. */
export function parseWords(
  words: readonly string[],
  procedure: string | undefined,
): { readonly what: What; readonly params: Readonly<Record<string, string>> } {
  const [first, ...rest] = words;
  if (procedure === undefined && (first === undefined || first.includes('='))) {
    throw usageError(
      'which command? Write beacon run HOST COMMAND [key=value…]; beacon hosts HOST lists them',
    );
  }
  const name = procedure ?? first ?? '';
  if (!isName('command', name))
    throw usageError(`${JSON.stringify(name.slice(0, 80))} is not ${nameForms.command}`);
  return {
    what: procedure === undefined ? { command: name } : { procedure: name },
    params: parseParameters(procedure === undefined ? rest : words),
  };
}

/** `key=value` each, and each key once. Throws CliError `usage`. */
function parseParameters(words: readonly string[]): Readonly<Record<string, string>> {
  const params: Record<string, string> = {};
  for (const word of words) {
    const [, name, value] = /^([a-z][a-z0-9_]{0,31})=(.*)$/s.exec(word) ?? [];
    if (name === undefined || value === undefined) {
      throw usageError(`${JSON.stringify(word.slice(0, 80))} is no parameter: write key=value`);
    }
    if (Object.hasOwn(params, name)) throw usageError(`the parameter ${name} is given twice`);
    params[name] = value;
  }
  return params;
}
