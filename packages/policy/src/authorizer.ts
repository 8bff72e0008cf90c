/**
 * Cedar, held small: policies and schema are parsed once into a numbered slot of the wasm module, asked many times, and
 * given back. Every request is validated against the schema, and anything but a clean answer is `error`, which callers
 * treat as a denial: Cedar alone would skip a `forbid` that fails to evaluate, and allow.
 */
import {
  type Context,
  type EntityJson,
  type PolicyJson,
  preparsePolicySet,
  preparseSchema,
  type SchemaJson,
  statefulIsAuthorized,
  type TypeAndId,
} from '@cedar-policy/cedar-wasm/nodejs';

/** One question in Cedar's terms. */
export interface Question {
  readonly principal: TypeAndId;
  readonly action: string;
  readonly resource: TypeAndId;
  readonly context: Context;
  readonly entities: EntityJson[];
}

/** `permits`/`forbids`: the ids of all policies that matched, sorted. */
export type Verdict =
  | { readonly kind: 'allow'; readonly permits: readonly string[] }
  | { readonly kind: 'forbid'; readonly forbids: readonly string[] }
  | { readonly kind: 'none' }
  | { readonly kind: 'error'; readonly policies: readonly string[]; readonly text: string };

/** Answers questions until it is closed. */
export interface Authorizer {
  readonly ask: (question: Question) => Verdict;
  readonly close: () => void;
}

const freeSlots: string[] = [];
let slotsMade = 0;

/** Parses both into a slot; null with the texts of the errors when Cedar refuses. */
export function openAuthorizer(
  policies: Readonly<Record<string, string | PolicyJson>>,
  schema: SchemaJson<string>,
): Authorizer | { faults: string[] } {
  const slot = freeSlots.pop() ?? `beacon-${++slotsMade}`;
  const answers = [
    preparseSchema(slot, schema),
    preparsePolicySet(slot, { staticPolicies: { ...policies } }),
  ];
  const faults = answers.flatMap((answer) =>
    answer.type === 'failure' ? answer.errors.map((error) => error.message) : [],
  );
  const close = (): void => {
    // The module keeps what it parsed for ever; an empty set in its place frees the memory.
    preparsePolicySet(slot, { staticPolicies: {} });
    preparseSchema(slot, {});
    freeSlots.push(slot);
  };
  if (faults.length > 0) {
    close();
    return { faults };
  }
  return { ask: (question) => ask(slot, question), close };
}

function ask(slot: string, question: Question): Verdict {
  try {
    const answer = statefulIsAuthorized({
      principal: question.principal,
      action: { type: 'Action', id: question.action },
      resource: question.resource,
      context: question.context,
      entities: question.entities,
      preparsedPolicySetId: slot,
      preparsedSchemaName: slot,
      validateRequest: true,
    });
    if (answer.type === 'failure') {
      return { kind: 'error', policies: [], text: answer.errors.map((error) => error.message).join('; ') };
    }
    const { decision, diagnostics } = answer.response;
    if (diagnostics.errors.length > 0) {
      const policies = diagnostics.errors.map((error) => error.policyId).sort();
      return {
        kind: 'error',
        policies,
        text: diagnostics.errors.map((error) => error.error.message).join('; '),
      };
    }
    const reason = [...diagnostics.reason].sort();
    if (decision === 'allow' && reason.length > 0) return { kind: 'allow', permits: reason };
    return reason.length > 0 ? { kind: 'forbid', forbids: reason } : { kind: 'none' };
  } catch (cause) {
    return { kind: 'error', policies: [], text: cause instanceof Error ? cause.message : 'Cedar failed' };
  }
}
