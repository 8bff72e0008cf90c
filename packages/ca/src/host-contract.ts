/**
 * The commands that a host offers, in the form of its allowlist: as it reported them, else as the CA's inventory names
 * them. What a host reported is what it says of itself; nothing is allowed by it.
 */
import type { CommandFacts, ParameterFacts } from '@beacon/policy';
import { ProtocolError } from '@beacon/protocol';
import { BUILT_IN_COMMANDS, parseAllowlist } from '@beacon/protocol/allowlist';
import type { Ca } from './ca.ts';

export interface OfferedCommand extends CommandFacts {
  readonly name: string;
  readonly timeoutSeconds?: number;
}

/** `by`: whose word it is. */
export interface Contract {
  readonly by: 'host' | 'inventory';
  readonly commands: readonly OfferedCommand[];
}

/** Contracts that hosts reported, read; by the digest of their text. */
const read = new Map<string, readonly OfferedCommand[] | undefined>();
const MOST_READ = 256;

/** What one host offers, or each of all that reported; hosts that are not in the map offer {@link inventoryOf}. */
export async function readContracts(ca: Ca, host?: string): Promise<ReadonlyMap<string, Contract>> {
  const rows = await ca.store
    .selectFrom('host_reports')
    .select(['host', 'contract', 'contract_sha256'])
    .where('contract', 'is not', null)
    .$if(host !== undefined, (query) => query.where('host', '=', host ?? ''))
    .execute();
  return new Map(
    rows.flatMap((row) => {
      const reported = commandsOf(row.contract ?? '', row.contract_sha256 ?? '');
      if (reported === undefined) return [];
      return [[row.host, { by: 'host', commands: [...reported, ...builtIn(ca)] }] as const];
    }),
  );
}

/** What the inventory says that hosts offer. */
export function inventoryOf(ca: Ca): Contract {
  return {
    by: 'inventory',
    commands: Object.entries(ca.policy.commands).map(([name, facts]) => ({ name, ...facts })),
  };
}

/** Every gate answers these; they can be asked for where the inventory names them. */
function builtIn(ca: Ca): OfferedCommand[] {
  return BUILT_IN_COMMANDS.flatMap((name) => {
    const facts = ca.policy.commands[name];
    return facts === undefined ? [] : [{ name, ...facts }];
  });
}

function commandsOf(text: string, sha256: string): readonly OfferedCommand[] | undefined {
  if (!read.has(sha256)) {
    if (read.size >= MOST_READ) read.clear();
    read.set(sha256, parse(text));
  }
  return read.get(sha256);
}

/** Undefined for what this program cannot read: another version's, or none. */
function parse(text: string): readonly OfferedCommand[] | undefined {
  try {
    return [...parseAllowlist(Buffer.from(text)).commands.values()].map((command) => ({
      name: command.name,
      summary: command.summary,
      params: Object.fromEntries(
        [...command.parameters].map(([name, { pattern, isSecret }]): [string, ParameterFacts] => [
          name,
          { pattern: pattern.source, ...(isSecret ? { secret: true } : {}) },
        ]),
      ),
      timeoutSeconds: command.timeoutSeconds,
      ...(command.undo === undefined ? {} : { undo: command.undo }),
    }));
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
