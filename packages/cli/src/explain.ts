/**
 * `beacon policy explain`: asks the CA for the decision alone. Nothing is issued; the CA keeps a record that it was asked.
 * The exit status says the decision, so that a script can ask before it acts.
 */
import { randomBytes } from 'node:crypto';
import type { Decision } from '@beacon/client';
import { isName, nameForms } from '@beacon/protocol/name';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import { formatMissing } from './missing.ts';
import { chooseLogin, parseLifetime, parseSshTarget } from './ssh-target.ts';

export interface ExplainOptions {
  readonly host: string;
  readonly login?: string;
  readonly person?: string;
  readonly service?: string;
  readonly command?: string;
  readonly param: readonly string[];
  readonly lifetime: string;
  readonly json: boolean;
}

const DENIED = 77;

export async function explain(context: Context, options: ExplainOptions): Promise<number> {
  const target = parseSshTarget(
    options.login === undefined ? options.host : `${options.login}@${options.host}`,
  );
  const lifetime_seconds = parseLifetime(options.lifetime);
  const commands = commandsOf(options);
  const { api } = await openCa(context);
  const login = await chooseLogin(api, target);
  const decision = await api.decide({
    host: target.host,
    login,
    lifetime_seconds,
    ...(commands === undefined ? {} : { commands }),
    ...(options.person === undefined ? {} : { person: options.person }),
    ...(options.service === undefined ? {} : { service: options.service }),
  });
  if (options.json) context.terminal.json(decisionJson(decision));
  else for (const line of decisionLines(decision, `${login}@${target.host}`)) context.terminal.out(line);
  return decision.allowed ? 0 : DENIED;
}

function commandsOf({ command, param }: ExplainOptions) {
  if (command === undefined) {
    if (param.length > 0) throw usageError('--param says something about a command: name it with --command');
    return undefined;
  }
  if (!isName('command', command))
    throw usageError(`${JSON.stringify(command.slice(0, 80))} is not ${nameForms.command}`);
  const params: Record<string, string> = {};
  for (const text of param) {
    const [, name, value] = /^([a-z][a-z0-9_]{0,31})=(.*)$/s.exec(text) ?? [];
    if (name === undefined || value === undefined)
      throw usageError(`${JSON.stringify(text)} is no parameter: write name=value`);
    params[name] = value;
  }
  const salt = randomBytes(32).toString('base64url');
  return [{ command, params: JSON.stringify(params), salt, commitments: {} }];
}

function decisionJson(decision: Decision): object {
  const { limits } = decision;
  return {
    allowed: decision.allowed,
    reason: decision.reason,
    missing: decision.missing,
    policies: decision.policies,
    policy_version: decision.policyVersion,
    limits:
      limits === undefined
        ? null
        : { max_lifetime_seconds: limits.maxLifetimeSeconds, extensions: limits.extensions },
    record: decision.record,
  };
}

function decisionLines(decision: Decision, target: string): readonly string[] {
  const { allowed, reason, missing, policies, limits } = decision;
  return [
    `${allowed ? 'allowed' : 'denied'}: ${target}: ${reason.text} (${reason.code})`,
    ...missing.map((one) => `missing: ${formatMissing(one)}`),
    ...(policies.length === 0 ? [] : [`decided by: ${policies.join(', ')}`]),
    ...(limits === undefined
      ? []
      : [
          `limits: ${limits.maxLifetimeSeconds} s, permits ${limits.extensions.join(', ') || 'nothing besides'}`,
        ]),
  ];
}
