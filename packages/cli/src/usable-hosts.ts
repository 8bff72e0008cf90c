/** `beacon hosts`: the hosts that one may use through the broker, and what can be asked of one of them, with why not. */
import type { Allowed, OfferedCommand, UsableHostDetail } from '@beacon/client';
import { type BrokerChoice, openBroker } from './broker.ts';
import type { Context } from './context.ts';
import { formatMissing } from './missing.ts';
import { formatTable } from './terminal.ts';

export interface HostsOptions extends BrokerChoice {
  readonly json: boolean;
}

export async function listUsableHosts(context: Context, options: HostsOptions): Promise<number> {
  const { api } = await openBroker(context, options);
  const hosts = await api.hosts();
  if (options.json) {
    context.terminal.json({ hosts });
    return 0;
  }
  const rows = hosts.map(({ id, state, logins, pools, labels }) => [
    id,
    state,
    logins.join(','),
    pools.join(',') || '-',
    Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(',') || '-',
  ]);
  for (const line of formatTable([['HOST', 'STATE', 'LOGINS', 'POOLS', 'LABELS'], ...rows]))
    context.terminal.out(line);
  return 0;
}

export async function showUsableHost(context: Context, id: string, options: HostsOptions): Promise<number> {
  const { api } = await openBroker(context, options);
  const detail = await api.host(id);
  if (options.json) context.terminal.json(detailJson(detail));
  else for (const line of detailLines(detail)) context.terminal.out(line);
  return 0;
}

function detailJson({ host, commands, procedures }: UsableHostDetail): object {
  return {
    host,
    commands: commands.map(({ timeoutSeconds, ...same }) => ({ ...same, timeout_seconds: timeoutSeconds })),
    procedures,
  };
}

function detailLines({ host, commands, procedures }: UsableHostDetail): readonly string[] {
  const commandRows = commands.map((one) => [
    one.command,
    one.allowed,
    one.login,
    parameters(one.params),
    one.summary,
  ]);
  const procedureRows = procedures.map((one) => [one.name, one.allowed, parameters(one.params), one.summary]);
  const reasons = [
    ...commands.flatMap(whyNot),
    ...procedures.flatMap(({ name, allowed, reason }) =>
      allowed === 'yes' || reason === undefined ? [] : [because(name, allowed, reason.text)],
    ),
  ];
  const head = ['COMMAND', 'ALLOWED', 'LOGIN', 'PARAMETERS', 'SUMMARY'];
  return [
    `${host.id} is ${host.state}`,
    ...formatTable([head, ...commandRows]),
    ...(procedures.length === 0
      ? []
      : ['', ...formatTable([['PROCEDURE', 'ALLOWED', 'PARAMETERS', 'SUMMARY'], ...procedureRows])]),
    ...(reasons.length === 0 ? [] : ['', ...reasons]),
  ];
}

/** Names; a secret one is given with --secret or --secret-file, one that may be left out stands in brackets. */
function parameters(
  params: Readonly<Record<string, { readonly secret: boolean; readonly required?: boolean }>>,
): string {
  const names = Object.entries(params).map(([name, { secret, required }]) => {
    const shown = secret ? `${name} (secret)` : name;
    return required === false ? `[${shown}]` : shown;
  });
  return names.join(' ') || '-';
}

function whyNot({ command, allowed, reason, missing }: OfferedCommand): readonly string[] {
  if (allowed === 'yes') return [];
  return [
    because(command, allowed, reason.text),
    ...missing.map((one) => `  missing: ${formatMissing(one)}`),
  ];
}

function because(name: string, allowed: Allowed, text: string): string {
  return `${name}: ${allowed === 'no' ? 'not allowed' : 'depends'}: ${text}`;
}
