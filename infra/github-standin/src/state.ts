/**
 * What the stand-in knows: persons, organisations, teams, apps and tokens, all of which tests change while it runs. Ids
 * decide; logins can be renamed and taken over by another person, as at GitHub. Nothing here speaks HTTP.
 */
import { StandinError } from './error.ts';
import { type Fault, FaultTable } from './fault.ts';
import { randomText } from './random-text.ts';
import { RunnerState } from './runner-state.ts';

export type AppKind = 'github-app' | 'oauth-app';

export interface App {
  readonly clientId: string;
  readonly clientSecret: string;
  readonly name: string;
  readonly kind: AppKind;
  /** Compared exactly, as GitHub does for GitHub Apps. */
  readonly callbackUrls: readonly string[];
  /** GitHub Apps only: tokens end after eight hours and come with a refresh token. */
  readonly expiringTokens: boolean;
}

export interface Person {
  readonly id: number;
  login: string;
  name: string | null;
}

export type MembershipState = 'active' | 'pending';

export interface Installation {
  readonly id: number;
  readonly clientId: string;
  readonly members: 'read' | null;
  /** "Administration" of repositories, and "Self-hosted runners" of the organisation. */
  runners: 'read' | 'write' | null;
  suspended: boolean;
}

export interface Organization {
  readonly id: number;
  login: string;
  name: string | null;
  readonly members: Map<number, MembershipState>;
  /** Members who administer it. */
  readonly owners: Set<number>;
  sso: boolean;
  readonly ssoSessions: Set<number>;
  /** "OAuth app access restrictions": only approved OAuth Apps see the organisation. */
  restrictsApps: boolean;
  readonly approvedApps: Set<string>;
  readonly installations: Map<string, Installation>;
}

export interface Team {
  readonly id: number;
  readonly organization: number;
  slug: string;
  name: string;
  readonly members: Set<number>;
}

export interface Token {
  readonly id: number;
  readonly token: string;
  readonly refreshToken: string | null;
  readonly clientId: string;
  readonly person: number;
  readonly scopes: readonly string[];
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
}

/** Why a token does not see an organisation of its person, or that it does. */
export type Visibility = 'visible' | 'sso' | 'not-installed' | 'restricted';

const EIGHT_HOURS_MS = 8 * 60 * 60 * 1000;

export class StandinState {
  readonly now: () => Date;
  readonly apps = new Map<string, App>();
  readonly persons = new Map<number, Person>();
  readonly organizations = new Map<number, Organization>();
  readonly teams = new Map<number, Team>();
  readonly tokens = new Map<string, Token>();
  readonly faults = new FaultTable();
  /** Every token, refresh token and code ever given out, so that tests can look for them where they must not be. */
  readonly canaries: string[] = [];
  /** The requests that came in, oldest first: `GET /user`, without the `/api/v3` prefix and the query. */
  readonly requests: string[] = [];
  readonly runners: RunnerState;
  #lastId = 1000;

  constructor(now: () => Date) {
    this.now = now;
    this.runners = new RunnerState({ now, nextId: () => this.nextId(), canaries: this.canaries });
  }

  nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  addApp(given: Partial<App> & Pick<App, 'callbackUrls'>): App {
    const kind = given.kind ?? 'github-app';
    const app: App = {
      clientId: given.clientId ?? `${kind === 'github-app' ? 'Iv23li' : 'Ov23li'}${randomText(14)}`,
      clientSecret: given.clientSecret ?? randomText(40),
      name: given.name ?? 'Beacon',
      kind,
      callbackUrls: given.callbackUrls,
      expiringTokens: kind === 'github-app' && (given.expiringTokens ?? true),
    };
    if (this.apps.has(app.clientId))
      throw new StandinError('taken', `There is an app ${app.clientId} already`);
    this.apps.set(app.clientId, app);
    this.canaries.push(app.clientSecret);
    return app;
  }

  addPerson(given: { login: string; id?: number; name?: string }): Person {
    const person: Person = {
      id: given.id ?? this.nextId(),
      login: given.login,
      name: given.name ?? null,
    };
    this.#refuseTaken(person.login, person.id);
    this.persons.set(person.id, person);
    return person;
  }

  /** Frees the old login at once: somebody else may take it. */
  renamePerson(id: number, login: string): void {
    const person = this.person(id);
    this.#refuseTaken(login);
    person.login = login;
  }

  addOrganization(given: { login: string; id?: number; name?: string }): Organization {
    const organization: Organization = {
      id: given.id ?? this.nextId(),
      login: given.login,
      name: given.name ?? null,
      members: new Map(),
      owners: new Set(),
      sso: false,
      ssoSessions: new Set(),
      restrictsApps: false,
      approvedApps: new Set(),
      installations: new Map(),
    };
    this.#refuseTaken(organization.login, organization.id);
    this.organizations.set(organization.id, organization);
    return organization;
  }

  addTeam(given: { organization: number; slug: string; id?: number; name?: string }): Team {
    this.organization(given.organization);
    const team: Team = {
      id: given.id ?? this.nextId(),
      organization: given.organization,
      slug: given.slug,
      name: given.name ?? given.slug,
      members: new Set(),
    };
    this.teams.set(team.id, team);
    return team;
  }

  /** `null` takes the person out of the organisation and, as GitHub does, out of its teams. */
  setMember(organization: number, person: number, state: MembershipState | null): void {
    const { members } = this.organization(organization);
    if (state !== null) {
      members.set(this.person(person).id, state);
      return;
    }
    members.delete(person);
    this.organization(organization).owners.delete(person);
    for (const team of this.teams.values()) {
      if (team.organization === organization) team.members.delete(person);
    }
  }

  setTeamMember(team: number, person: number, member: boolean): void {
    const found = this.teams.get(team);
    if (found === undefined) throw new StandinError('not-found', `There is no team ${team}`);
    if (member) found.members.add(this.person(person).id);
    else found.members.delete(person);
  }

  /** Whether the organisation enforces single sign-on; sessions begun before stay. */
  setSso(organization: number, enforced: boolean): void {
    this.organization(organization).sso = enforced;
  }

  setSsoSession(organization: number, person: number, signedIn: boolean): void {
    const { ssoSessions } = this.organization(organization);
    if (signedIn) ssoSessions.add(person);
    else ssoSessions.delete(person);
  }

  setAppRestriction(organization: number, restricted: boolean): void {
    this.organization(organization).restrictsApps = restricted;
  }

  approveApp(organization: number, clientId: string): void {
    this.organization(organization).approvedApps.add(this.app(clientId).clientId);
  }

  installApp(organization: number, clientId: string, members: 'read' | null = 'read'): Installation {
    const installation: Installation = {
      id: this.nextId(),
      clientId,
      members,
      runners: 'write',
      suspended: false,
    };
    this.organization(organization).installations.set(this.app(clientId).clientId, installation);
    return installation;
  }

  /** Whether the installation may administer runners: "Administration" and "Self-hosted runners". */
  setRunnerPermission(organization: number, clientId: string, permitted: boolean | 'read'): void {
    this.installation(organization, clientId).runners =
      permitted === 'read' ? permitted : permitted ? 'write' : null;
  }

  setOwner(organization: number, person: number, isOwner: boolean): void {
    const { owners, members } = this.organization(organization);
    if (!isOwner) owners.delete(person);
    else if (members.get(person) === 'active') owners.add(person);
    else throw new StandinError('not-found', `Person ${person} is no member of ${organization}`);
  }

  uninstallApp(organization: number, clientId: string): void {
    this.organization(organization).installations.delete(clientId);
  }

  suspendApp(organization: number, clientId: string, suspended: boolean): void {
    this.installation(organization, clientId).suspended = suspended;
  }

  installation(organization: number, clientId: string): Installation {
    const { installations } = this.organization(organization);
    return found(installations.get(clientId), `installation of ${clientId} there`);
  }

  /** Mints a token as the web flow would; for an app of somebody else too. Scopes count for OAuth Apps only. */
  mintToken(given: { clientId: string; person: number; scopes?: readonly string[] }): Token {
    const app = this.app(given.clientId);
    const createdAt = this.now();
    const token: Token = {
      id: this.nextId(),
      token: `${app.kind === 'github-app' ? 'ghu' : 'gho'}_${randomText(36)}`,
      refreshToken: app.expiringTokens ? `ghr_${randomText(76)}` : null,
      clientId: app.clientId,
      person: this.person(given.person).id,
      scopes: app.kind === 'oauth-app' ? (given.scopes ?? ['read:org']) : [],
      createdAt,
      expiresAt: app.expiringTokens ? new Date(createdAt.getTime() + EIGHT_HOURS_MS) : null,
    };
    this.tokens.set(token.token, token);
    this.canaries.push(token.token, ...(token.refreshToken === null ? [] : [token.refreshToken]));
    return token;
  }

  /** The token if it is there and has not ended. */
  findToken(token: string): Token | undefined {
    const found = this.tokens.get(token);
    return found !== undefined && (found.expiresAt === null || found.expiresAt > this.now())
      ? found
      : undefined;
  }

  revokeToken(token: string): boolean {
    return this.tokens.delete(token);
  }

  /** Ends every token of that person for that app. */
  revokeGrant(clientId: string, person: number): void {
    for (const token of this.tokens.values()) {
      if (token.clientId === clientId && token.person === person) this.tokens.delete(token.token);
    }
  }

  /** Answers what takes it away again. */
  fault(fault: Fault): () => void {
    return this.faults.add(fault);
  }

  clearFaults(): void {
    this.faults.clear();
  }

  visibility(token: Token, organization: Organization): Visibility {
    if (this.app(token.clientId).kind === 'github-app') {
      const installation = organization.installations.get(token.clientId);
      if (installation?.members !== 'read' || installation.suspended) return 'not-installed';
    } else if (organization.restrictsApps && !organization.approvedApps.has(token.clientId)) {
      return 'restricted';
    }
    return organization.sso && !organization.ssoSessions.has(token.person) ? 'sso' : 'visible';
  }

  app(clientId: string): App {
    return found(this.apps.get(clientId), `app ${clientId}`);
  }

  person(id: number): Person {
    return found(this.persons.get(id), `person ${id}`);
  }

  organization(id: number): Organization {
    return found(this.organizations.get(id), `organisation ${id}`);
  }

  /** Persons and organisations share one space of logins, compared without case. */
  findLogin(login: string): Person | Organization | undefined {
    const wanted = login.toLowerCase();
    for (const one of [...this.persons.values(), ...this.organizations.values()]) {
      if (one.login.toLowerCase() === wanted) return one;
    }
    return undefined;
  }

  /** Logins and ids: persons and organisations draw both from one space. */
  #refuseTaken(login: string, id?: number): void {
    if (this.findLogin(login) !== undefined) throw new StandinError('taken', `The login ${login} is taken`);
    if (id !== undefined && (this.persons.has(id) || this.organizations.has(id))) {
      throw new StandinError('taken', `The id ${id} is taken`);
    }
  }
}

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new StandinError('not-found', `There is no ${what}`);
  return value;
}
