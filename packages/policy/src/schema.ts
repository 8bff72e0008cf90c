/**
 * The Cedar schema, made from the inventory: one action for every command, with the command's own parameters in its
 * context, `ssh` for an ordinary login, and the `ca.*` actions on `Authority::"ca"`. Persons know only their teams and
 * organisations; hosts only their pools and labels (entity tags), so that new hosts never change the schema.
 */
import { type SchemaJson, schemaToText, type TypeOfAttribute } from '@cedar-policy/cedar-wasm/nodejs';
import { authorityActions, type CommandFacts, type Inventory } from './inventory.ts';

type Attributes = Record<string, TypeOfAttribute<string>>;

const attributesOfAll: Attributes = {
  service: { type: 'String' },
  source: { type: 'Extension', name: 'ipaddr' },
  time: { type: 'Extension', name: 'datetime' },
  weekday: { type: 'String' },
};

const attributesOnHosts: Attributes = {
  ...attributesOfAll,
  lifetime_seconds: { type: 'Long' },
  login: { type: 'String' },
};

/** Every action that a policy for this inventory may name. */
export function actionNames(inventory: Inventory): string[] {
  return [...Object.keys(inventory.commands), 'ssh', ...authorityActions].sort();
}

/** The schema against which policies and requests are validated. */
export function makeSchema(inventory: Inventory): SchemaJson<string> {
  const actions: SchemaJson<string>[string]['actions'] = { ssh: onHosts({}) };
  for (const [name, command] of Object.entries(inventory.commands))
    actions[name] = onHosts(shownParameters(command));
  for (const name of authorityActions) actions[name] = appliesTo('Authority', attributesOfAll);
  return {
    '': {
      entityTypes: {
        Authority: {},
        Host: { memberOfTypes: ['Pool'], tags: { type: 'String' } },
        Org: {},
        Person: { memberOfTypes: ['Org', 'Team'] },
        Pool: {},
        Team: {},
      },
      actions,
    },
  };
}

/** The same schema in Cedar's own words, for people who write policies and for editors. */
export function formatSchema(inventory: Inventory): string {
  const answer = schemaToText(makeSchema(inventory));
  return answer.type === 'success' ? answer.text.replaceAll('__cedar::', '') : '';
}

function onHosts(params: Attributes): ReturnType<typeof appliesTo> {
  return appliesTo('Host', { ...attributesOnHosts, params: { type: 'Record', attributes: params } });
}

function appliesTo(resource: string, attributes: Attributes) {
  return {
    appliesTo: {
      principalTypes: ['Person'],
      resourceTypes: [resource],
      context: { type: 'Record' as const, attributes },
    },
  };
}

function shownParameters(command: CommandFacts): Attributes {
  const shown = Object.entries(command.params).filter(([, facts]) => facts.secret !== true);
  return Object.fromEntries(shown.map(([name]) => [name, { type: 'String' }]));
}
