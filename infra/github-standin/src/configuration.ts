/**
 * The file that says who is there when the stand-in starts. Everything has a fixed id, so that policies can name it:
 * `{"apps": [{"client_id", "client_secret", "callback_urls", "kind"?, "name"?, "expiring_tokens"?}],
 *   "persons": [{"id", "login", "name"?}],
 *   "organizations": [{"id", "login", "name"?, "sso"?, "members": [login or {"login", "state"}], "owners": [login],
 *     "apps": [client id], "teams": [{"id", "slug", "members": [login]}], "runner_groups": [name],
 *     "repositories": [{"id", "name", "public"?, "admins": [login], "writers": [login]}]}]}`.
 */
import { StandinError } from './error.ts';
import type { StandinState } from './state.ts';

type Fields = Record<string, unknown>;

/** Puts the file's content into an empty state; throws StandinError `configuration` or `not-found`. */
export function configure(state: StandinState, file: unknown): void {
  const top = fields(file, 'the file', ['apps', 'persons', 'organizations']);
  for (const entry of list(top['apps'], 'apps')) {
    const app = fields(entry, 'an app', [
      'client_id',
      'client_secret',
      'callback_urls',
      'kind',
      'name',
      'expiring_tokens',
    ]);
    state.addApp({
      clientId: text(app, 'client_id'),
      clientSecret: text(app, 'client_secret'),
      callbackUrls: list(app['callback_urls'], 'callback_urls').map(String),
      kind: app['kind'] === 'oauth-app' ? 'oauth-app' : 'github-app',
      expiringTokens: app['expiring_tokens'] !== false,
      ...optional(app, 'name'),
    });
  }
  for (const entry of list(top['persons'], 'persons')) {
    const person = fields(entry, 'a person', ['id', 'login', 'name']);
    state.addPerson({ id: id(person), login: text(person, 'login'), ...optional(person, 'name') });
  }
  for (const entry of list(top['organizations'], 'organizations')) configureOrganization(state, entry);
}

function configureOrganization(state: StandinState, entry: unknown): void {
  const given = fields(entry, 'an organisation', [
    ...['id', 'login', 'name', 'sso', 'members', 'owners', 'apps', 'teams'],
    ...['runner_groups', 'repositories'],
  ]);
  const organization = state.addOrganization({
    id: id(given),
    login: text(given, 'login'),
    ...optional(given, 'name'),
  });
  if (given['sso'] === true) state.setSso(organization.id, true);
  for (const member of list(given['members'], 'members')) {
    const pending = typeof member === 'object';
    const login = pending ? text(fields(member, 'a member', ['login', 'state']), 'login') : member;
    state.setMember(organization.id, personOf(state, login), pending ? 'pending' : 'active');
  }
  for (const login of list(given['owners'], 'owners')) {
    state.setOwner(organization.id, personOf(state, login), true);
  }
  for (const name of list(given['runner_groups'], 'runner_groups')) {
    state.runners.addGroup(organization.id, String(name));
  }
  for (const row of list(given['repositories'], 'repositories')) {
    configureRepository(state, organization.id, row);
  }
  for (const clientId of list(given['apps'], 'apps')) state.installApp(organization.id, String(clientId));
  for (const row of list(given['teams'], 'teams')) {
    const wanted = fields(row, 'a team', ['id', 'slug', 'members']);
    const team = state.addTeam({
      organization: organization.id,
      id: id(wanted),
      slug: text(wanted, 'slug'),
    });
    for (const login of list(wanted['members'], 'members')) {
      state.setTeamMember(team.id, personOf(state, login), true);
    }
  }
}

function configureRepository(state: StandinState, owner: number, row: unknown): void {
  const given = fields(row, 'a repository', ['id', 'name', 'public', 'admins', 'writers']);
  const { roles } = state.runners.addRepository({
    owner,
    id: id(given),
    name: text(given, 'name'),
    isPrivate: given['public'] !== true,
  });
  for (const login of list(given['writers'], 'writers')) roles.set(personOf(state, login), 'write');
  for (const login of list(given['admins'], 'admins')) roles.set(personOf(state, login), 'admin');
}

function personOf(state: StandinState, login: unknown): number {
  const person = state.findLogin(String(login));
  if (person === undefined) throw new StandinError('not-found', `There is no person ${String(login)}`);
  return person.id;
}

function fields(value: unknown, what: string, known: readonly string[]): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new StandinError('configuration', `${what} must be an object`);
  }
  const unknown = Object.keys(value).find((key) => !known.includes(key));
  if (unknown !== undefined) throw new StandinError('configuration', `${what} has no "${unknown}"`);
  return { ...value };
}

function list(value: unknown, what: string): unknown[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new StandinError('configuration', `${what} must be a list`);
  return value;
}

function text(from: Fields, name: string): string {
  const value = from[name];
  if (typeof value !== 'string' || value === '')
    throw new StandinError('configuration', `${name} must be a text`);
  return value;
}

function optional<Name extends string>(from: Fields, name: Name): Partial<Record<Name, string>> {
  const given: Partial<Record<Name, string>> = {};
  if (from[name] !== undefined) given[name] = text(from, name);
  return given;
}

function id(from: Fields): number {
  const value = from['id'];
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  throw new StandinError('configuration', 'id must be a whole number above 0');
}
