/**
 * The rules that the CA decides by: policy, inventory and services, taken from their files together or not at all. A
 * reload that fails keeps the last good rules and says so; one that succeeds is recorded first and then takes over in one
 * step. A start records its rules when they are not those that were recorded last. Whoever decides holds the rules of one moment (`pinRules`), so that no decision mixes two versions.
 */
import { createHash } from 'node:crypto';
import { createPolicyEngine, type Inventory, type PolicyEngine, type PolicyFile } from '@beacon/policy';
import { type RecordEntry, type Records, ServerError } from '@beacon/server';
import type { Ca, Tables, Tx } from './ca.ts';
import type { Service } from './services-configuration.ts';
import { readCounter, setCounter } from './store.ts';

export interface RuleFiles {
  readonly policies: readonly PolicyFile[];
  readonly inventory: Inventory;
  readonly services: ReadonlyMap<string, Service>;
}

export interface Rules {
  readonly policy: PolicyEngine;
  readonly services: ReadonlyMap<string, Service>;
  /** SHA-256 in hex, over the values and not the text. */
  readonly inventoryDigest: string;
  readonly servicesDigest: string;
}

/** Longer than any request, so that nobody who began with the old rules finds them closed. */
const RETIRE_MS = 120_000;

/** The rules of now. */
export interface RuleBook {
  readonly current: Rules;
  readonly loadedAt: Date;
  /** Why the last reload kept what was there; undefined when it did not. */
  readonly failure: { readonly at: Date; readonly error: unknown } | undefined;
  /**
   * Reads and replaces; `accept` may refuse and makes the change durable. Rejects with what was wrong, the last good rules
   * still standing. One at a time.
   */
  reload(read: () => RuleFiles, accept: (next: Rules) => Promise<void>): Promise<void>;
  close(): void;
}

export function openRules(
  files: RuleFiles,
  { provider, now }: { readonly provider: string; readonly now: () => Date },
): RuleBook {
  let current = makeRules(files, provider);
  let loadedAt = now();
  let failure: RuleBook['failure'];
  let turn: Promise<unknown> = Promise.resolve();
  const retired = new Map<PolicyEngine, NodeJS.Timeout>();

  function retire(engine: PolicyEngine): void {
    const timer = setTimeout(() => {
      retired.delete(engine);
      engine.close();
    }, RETIRE_MS);
    retired.set(engine, timer.unref());
  }

  async function replace(read: () => RuleFiles, accept: (next: Rules) => Promise<void>): Promise<void> {
    let next: Rules | undefined;
    try {
      next = makeRules(read(), provider);
      await accept(next);
      retire(current.policy);
      current = next;
      loadedAt = now();
      failure = undefined;
    } catch (error) {
      next?.policy.close();
      failure = { at: now(), error };
      throw error;
    }
  }

  return {
    get current() {
      return current;
    },
    get loadedAt() {
      return loadedAt;
    },
    get failure() {
      return failure;
    },
    reload(read, accept) {
      const done = turn.then(() => replace(read, accept));
      turn = done.catch(() => undefined);
      return done;
    },
    close() {
      for (const [engine, timer] of retired) {
        clearTimeout(timer);
        engine.close();
      }
      retired.clear();
      current.policy.close();
    },
  };
}

function makeRules({ policies, inventory, services }: RuleFiles, provider: string): Rules {
  return {
    policy: createPolicyEngine({ files: policies, inventory, provider }),
    services,
    inventoryDigest: digest(inventory),
    servicesDigest: digest([...services]),
  };
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}

function rulesRecord(rules: Rules) {
  return {
    kind: 'rules-loaded',
    facts: {
      policy_version: rules.policy.version,
      inventory: rules.inventoryDigest,
      services: rules.servicesDigest,
    },
  } satisfies RecordEntry;
}

/** The counter that holds the number of the last record of rules, so that it is found without a search. */
const LAST_RECORD = 'rules-record';

/** What a reload leaves in the chain. */
export async function recordRules(records: Records, tx: Tx, rules: Rules): Promise<void> {
  const { seq } = await records.append(tx, rulesRecord(rules));
  await setCounter(tx, LAST_RECORD, BigInt(seq));
}

/** What a start leaves in the chain: nothing when the last rules that were recorded are these. */
export async function recordRulesOfStart(records: Records, tx: Tx, rules: Rules): Promise<void> {
  const seq = Number(await readCounter(tx, LAST_RECORD));
  const last = await records.get<Tables>(tx, seq).catch((error: unknown) => {
    // A record that is damaged says nothing that could be relied on.
    if (error instanceof ServerError && error.code === 'record') return undefined;
    throw error;
  });
  const { kind, facts } = rulesRecord(rules);
  const known = last?.fields;
  const isKnown =
    known?.kind === kind && Object.entries(facts).every(([name, value]) => known.facts?.[name] === value);
  if (!isKnown) await recordRules(records, tx, rules);
}

/** The CA with the rules of this moment: what a request that decides works with from its beginning to its end. */
export function pinRules(ca: Ca): Ca {
  return { ...ca };
}
