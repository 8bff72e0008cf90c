/**
 * Loads policy files: parses, names, checks and validates every policy before the first question is asked. What is
 * refused here can never decide: parse and schema errors, every warning of Cedar's validator (a policy that is
 * impossible is a slip of the pen), unknown annotations and actions, doubled ids, ids that are not canonical, templates,
 * and memberships where doubt could become permission (`membership.ts`).
 */
import {
  type DetailedError,
  type PolicyJson,
  policySetTextToParts,
  policyToJson,
  type SchemaJson,
  type SourceLocation,
  validate,
} from '@cedar-policy/cedar-wasm/nodejs';
import { type Limits, readAnnotations } from './annotation.ts';
import { formatPlace, type Place, PolicyError, type PolicyErrorCode } from './error.ts';
import { faultOfMembership } from './membership.ts';
import { type EntityName, idsOf, type Mentions, mentionsOf } from './mention.ts';
import { isHostId, isPoolName, isProviderId, providerOf } from './name.ts';
import { suggest } from './nearest.ts';
import { type PolicyText, placeAt, positionOfByte, splitPolicies } from './policy-text.ts';

/** One file of the reviewed folder, as it was read. */
export interface PolicyFile {
  readonly name: string;
  readonly text: string;
}

/** One policy that has passed every check. `id` is its `@id`, or `file:line` when it has none. */
export interface LoadedPolicy {
  readonly id: string;
  readonly effect: 'permit' | 'forbid';
  /** The actions of the policy's scope. */
  readonly actions: readonly string[] | 'all';
  readonly place: Place;
  readonly limits: Limits;
  readonly mentions: Mentions;
  readonly text: string;
  readonly json: PolicyJson;
}

/** What the policies may name. `provider`, when given, is the only one whose ids may stand in a policy. */
export interface KnownNames {
  readonly actions: readonly string[];
  readonly provider?: string;
}

const longestFiles = 1024 * 1024;

/** Loads all files, in the order of their names; throws the first PolicyError. No file at all is valid: it permits nothing. */
export function loadPolicies(
  files: readonly PolicyFile[],
  schema: SchemaJson<string>,
  known: KnownNames,
): LoadedPolicy[] {
  const ordered = sortFiles(files);
  const loaded = new Map<string, LoadedPolicy>();
  const texts = new Map<string, PolicyFile & PolicyText>();
  for (const file of ordered) {
    for (const text of cut(file)) {
      const policy = loadPolicy(file, text, known);
      const twin = loaded.get(policy.id);
      if (twin !== undefined) {
        throw new PolicyError(
          'doubled-id',
          policy.place,
          `the id "${policy.id}" already belongs to ${formatPlace(twin.place)}; give each policy an @id of its own.`,
        );
      }
      loaded.set(policy.id, policy);
      texts.set(policy.id, { ...file, ...text, text: file.text });
    }
  }
  validateAll([...loaded.values()], texts, schema);
  return [...loaded.values()];
}

/** The files in the order of their names; throws when one is named twice, is malformed or all are too large. */
export function sortFiles(files: readonly PolicyFile[]): PolicyFile[] {
  const ordered = [...files].sort((a, b) => (a.name < b.name ? -1 : 1));
  let length = 0;
  for (const [index, file] of ordered.entries()) {
    if (file.name === ordered[index - 1]?.name) {
      throw new PolicyError(
        'doubled-file',
        { file: file.name },
        'there are two files of this name; keep one.',
      );
    }
    if (!file.name.isWellFormed() || !file.text.isWellFormed()) {
      throw new PolicyError('parse', { file: file.name }, 'is not UTF-8 text.');
    }
    length += file.text.length;
    if (length > longestFiles) {
      throw new PolicyError('too-large', { file: file.name }, 'all policies together are larger than 1 MiB.');
    }
  }
  return ordered;
}

function cut(file: PolicyFile): PolicyText[] {
  const parts = policySetTextToParts(file.text);
  if (parts.type === 'failure') {
    const [error] = parts.errors;
    throw refusal('parse', file, 0, error);
  }
  const slot = parts.policy_templates[0];
  if (slot !== undefined) {
    const place = placeAt(file.name, file.text, Math.max(0, file.text.indexOf(slot)));
    throw new PolicyError(
      'template',
      place,
      'templates (?principal, ?resource) are not used; write the name.',
    );
  }
  const policies = splitPolicies(file.text);
  const asCedar = [...parts.policies].sort();
  const asHere = policies.map((policy) => policy.text).sort();
  if (asCedar.length !== asHere.length || asCedar.some((text, index) => text !== asHere[index])) {
    throw new PolicyError(
      'parse',
      { file: file.name },
      'cannot be cut into policies; write each on lines of its own.',
    );
  }
  return policies;
}

function loadPolicy(file: PolicyFile, { text, start }: PolicyText, known: KnownNames): LoadedPolicy {
  const answer = policyToJson(text);
  if (answer.type === 'failure') throw refusal('parse', file, start, answer.errors[0]);
  const { json } = answer;
  const refuse = (code: PolicyErrorCode, sentence: string, near?: string): PolicyError => {
    const found = near === undefined ? -1 : text.indexOf(near);
    return new PolicyError(code, placeAt(file.name, file.text, start + Math.max(0, found)), sentence);
  };
  const actions = actionsOf(json);
  const mayBeSsh = actions === 'all' || actions.includes('ssh');
  const annotations = readAnnotations(json.annotations ?? {}, { effect: json.effect, mayBeSsh });
  if ('fault' in annotations) throw refuse('annotation', annotations.fault, `@${annotations.name}`);
  const mentions = mentionsOf(json);
  for (const entity of mentions.entities) {
    const fault = faultOfEntity(entity, known);
    if (fault !== null) throw refuse(fault.code, fault.text, `${entity.type}::"${entity.id}"`);
  }
  const membership = faultOfMembership(json);
  if (membership !== null) throw refuse(membership.code, membership.text);
  const place = placeAt(file.name, file.text, start);
  return {
    id: annotations.id ?? `${file.name}:${place.line}`,
    effect: json.effect,
    actions,
    place,
    limits: annotations.limits,
    mentions,
    text,
    json,
  };
}

function actionsOf(policy: PolicyJson): string[] | 'all' {
  return policy.action.op === 'All' ? 'all' : idsOf(mentionsOf({ ...policy, conditions: [] }), 'Action');
}

function faultOfEntity(
  { type, id }: EntityName,
  known: KnownNames,
): { code: PolicyErrorCode; text: string } | null {
  switch (type) {
    case 'Action':
      if (known.actions.includes(id)) return null;
      return {
        code: 'unknown-action',
        text: `there is no action "${id}": actions are the commands of the inventory, ssh, and ca.*.${suggest(id, known.actions)}`,
      };
    case 'Person':
    case 'Team':
    case 'Org':
      return faultOfProviderId(type, id, known.provider);
    case 'Host':
      if (isHostId(id)) return null;
      return {
        code: 'id',
        text: `Host::"${id}" is no host id; ids are compared exactly, "*" means nothing in them. For many hosts use resource in Pool::"…" or a label.`,
      };
    case 'Pool':
      return isPoolName(id)
        ? null
        : { code: 'id', text: `Pool::"${id}" is no name of a pool; names are compared exactly.` };
    case 'Authority':
      return id === 'ca' ? null : { code: 'id', text: `the only authority is Authority::"ca".` };
    default:
      // Unknown types are left to the validator, which names them better.
      return null;
  }
}

function faultOfProviderId(
  type: string,
  id: string,
  provider = '',
): { code: PolicyErrorCode; text: string } | null {
  if (!isProviderId(id)) {
    return {
      code: 'id',
      text: `${type}::"${id}": write the provider and the number that never changes, like ${type}::"${provider || 'github'}:4242", and the name in a comment.`,
    };
  }
  if (provider === '' || providerOf(id) === provider) return null;
  return { code: 'id', text: `${type}::"${id}": this CA knows the provider "${provider}" only.` };
}

function validateAll(
  policies: readonly LoadedPolicy[],
  texts: ReadonlyMap<string, PolicyFile & { start: number }>,
  schema: SchemaJson<string>,
): void {
  const staticPolicies = Object.fromEntries(policies.map((policy) => [policy.id, policy.text]));
  const answer = validate({ schema, policies: { staticPolicies } });
  if (answer.type === 'failure') {
    throw new PolicyError(
      'schema',
      { file: policies[0]?.place.file ?? 'policies' },
      sentenceOf(answer.errors[0]),
    );
  }
  const order = new Map(policies.map((policy, index) => [policy.id, index]));
  const found = [...answer.validationErrors, ...answer.validationWarnings].map((each, index) => ({
    ...each,
    index,
  }));
  // Errors before warnings within a policy; policies as they stand in the files.
  found.sort((a, b) => (order.get(a.policyId) ?? 0) - (order.get(b.policyId) ?? 0) || a.index - b.index);
  const [first] = found;
  const file = first === undefined ? undefined : texts.get(first.policyId);
  if (first !== undefined && file !== undefined) throw refusal('schema', file, file.start, first.error);
  const [other] = answer.otherWarnings;
  if (other !== undefined) throw new PolicyError('schema', { file: 'policies' }, sentenceOf(other));
}

/** Turns an error of Cedar, whose offsets begin at `start`, into ours. */
function refusal(
  code: PolicyErrorCode,
  file: PolicyFile,
  start: number,
  error: DetailedError | undefined,
): PolicyError {
  const location: SourceLocation | undefined = error?.sourceLocations?.[0];
  const position = start + positionOfByte(file.text.slice(start), location?.start ?? 0);
  return new PolicyError(code, placeAt(file.name, file.text, position), sentenceOf(error));
}

function sentenceOf(error: DetailedError | undefined): string {
  const message = (error?.message ?? 'Cedar refuses it').replace(/^for policy `[^`]*`, /, '');
  const label = error?.sourceLocations?.[0]?.label;
  const help = error?.help?.replace(/^for policy `[^`]*`, /, '');
  return (
    [message, label, help].filter((part) => part !== null && part !== undefined && part !== '').join('; ') +
    '.'
  );
}
