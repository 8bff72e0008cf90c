/** `beacon ca person list|disable|enable`: who may ask at all. Disabling ends all of a person's sessions. */
import { isName, nameForms } from '@beacon/protocol/name';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import type { ChangeOptions } from './hosts.ts';
import { formatTable, formatTime } from './terminal.ts';

export async function changePerson(
  context: Context,
  person: string,
  change: 'disable' | 'enable',
  options: ChangeOptions,
): Promise<number> {
  if (!isName('person', person))
    throw usageError(`${JSON.stringify(person.slice(0, 80))} is not ${nameForms.person}`);
  const { api } = await openCa(context);
  const changed = await api.changePerson(person, change, options.reason);
  const { terminal } = context;
  if (options.json) {
    terminal.json({
      person: changed.person,
      state: changed.state,
      sessions_ended: changed.sessionsEnded,
      record: changed.record,
    });
    return 0;
  }
  terminal.out(`${changed.person} is ${changed.state}; sessions ended: ${changed.sessionsEnded}`);
  if (change === 'disable') {
    terminal.talk(
      `Certificates that ${person} holds live on for minutes; revoke them with: beacon revoke --person ${person}`,
    );
  }
  return 0;
}

export async function listDisabledPersons(
  context: Context,
  options: { readonly json: boolean },
): Promise<number> {
  const { api } = await openCa(context);
  const disabled = await api.disabledPersons();
  if (options.json) {
    context.terminal.json({ disabled });
    return 0;
  }
  if (disabled.length === 0) context.terminal.talk('nobody is disabled');
  const rows = disabled.map(({ person, since, by, reason }) => [person, formatTime(since), by, reason]);
  const table = disabled.length === 0 ? [] : formatTable([['DISABLED', 'SINCE', 'BY', 'REASON'], ...rows]);
  for (const line of table) context.terminal.out(line);
  return 0;
}
