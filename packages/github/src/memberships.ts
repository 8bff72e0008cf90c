/**
 * In which of the organisations and teams that policies name a person is: known-in, known-out or unknown (DESIGN.md
 * section 3.1). Ids decide, never names. What is neither `in` nor `unknown` is known-out.
 *
 * How GitHub hides an organisation from a token, and what tells (REST documentation, "List organization memberships for
 * the authenticated user", "List teams for the authenticated user", "Authenticating to the REST API"):
 * - single sign-on not passed: left out of lists, and `X-GitHub-SSO: partial-results; organizations=<ids>`;
 * - a GitHub App that is not installed there, or without `members: read`: left out without a word. `GET
 *   /user/installations` names where it is installed, as far as the person may see; elsewhere membership is unknown;
 * - an OAuth App where the organisation restricts apps: left out without a word. The question about that one
 *   organisation is then answered with 403, and with 404 to somebody who is no member.
 */
import { readFields, readId, readList, readLogin, readWord } from './answer.ts';
import type { Answer, Connection, Conversation, Route } from './connection.ts';
import { GitHubError } from './error.ts';

export type UnknownReason = 'sso' | 'not-installed' | 'refused';

export interface UnknownMembership {
  /** With the provider, `github:42`. */
  readonly id: string;
  /** The organisation's login now, when it could be asked; only to be shown. */
  readonly name?: string;
  readonly why: UnknownReason;
  /** For a team: the organisation whose single sign-on hides it, where that can be told. */
  readonly organization?: string;
}

export interface Memberships {
  readonly organizations: { readonly in: readonly string[]; readonly unknown: readonly UnknownMembership[] };
  readonly teams: { readonly in: readonly string[]; readonly unknown: readonly UnknownMembership[] };
  /** When the first question was asked: nothing here is older. */
  readonly readAt: Date;
}

/** Ids without provider. */
export interface NamedIds {
  readonly organizations: readonly string[];
  readonly teams: readonly string[];
}

interface Seen<Row> {
  readonly rows: readonly Row[];
  /** Organisations that single sign-on hides. */
  readonly hidden: ReadonlySet<string>;
  /** Set when the whole list was refused. */
  readonly refused?: UnknownReason;
}

interface Found {
  readonly in: string[];
  readonly unknown: Map<string, UnknownReason>;
}

interface FoundTeams extends Found {
  /** By team, the organisation whose single sign-on hides it. */
  readonly hiddenBy: Map<string, string>;
}

const NAME_TIMEOUT_MS = 1000;
const noTeams: Seen<ReturnType<typeof readTeam>> = { rows: [], hidden: new Set() };

/** Throws GitHubError for every fault: a list that could not be read whole is never an empty one. */
export async function askMemberships(
  connection: Connection,
  token: string,
  named: NamedIds,
): Promise<{ organizations: Found; teams: FoundTeams; names: Map<string, string> }> {
  const credential = { authorization: `bearer ${token}`, token };
  const found = await connection.converse(credential, async (conversation) => {
    const [own, teams] = await Promise.all([
      list(conversation, 'GET /user/memberships/orgs', readMembership),
      named.teams.length === 0 ? noTeams : list(conversation, 'GET /user/teams', readTeam),
    ]);
    const active = new Set(own.rows.filter(({ state }) => state === 'active').map(({ id }) => id));
    for (const { id, state } of own.rows) if (state === 'pending') active.delete(id);
    const listed = new Set(own.rows.map(({ id }) => id));
    const hidden = new Set([...own.hidden, ...teams.hidden]);

    const organizations: Found = { in: [], unknown: new Map() };
    const absent: string[] = [];
    for (const id of new Set(named.organizations)) {
      if (own.refused !== undefined) organizations.unknown.set(id, own.refused);
      else if (hidden.has(id)) organizations.unknown.set(id, 'sso');
      else if (active.has(id)) organizations.in.push(id);
      else if (!listed.has(id)) absent.push(id);
    }

    const inTeams = new Set(
      teams.rows.filter(({ organization }) => active.has(organization)).map(({ id }) => id),
    );
    const absentTeams = [...new Set(named.teams)].filter((id) => !inTeams.has(id));
    const teamsFound: FoundTeams = {
      in: [...new Set(named.teams.filter((id) => inTeams.has(id)))],
      unknown: new Map(),
      hiddenBy: new Map(),
    };
    const question = isGitHubAppToken(token) ? askInstallations : askOneByOne;
    const nothing = await question(conversation, absent, absentTeams.length > 0, organizations);

    const elsewhere =
      (hidden.size > 0 ? 'sso' : undefined) ?? [...organizations.unknown.values()][0] ?? nothing;
    const teamOf = new Map(teams.rows.map((team) => [team.id, team.organization]));
    for (const id of absentTeams) {
      const home = teamOf.get(id);
      // A team that is listed stands in an organisation that we know of; any other may stand where we cannot see.
      const open =
        home === undefined ? elsewhere : hidden.has(home) ? 'sso' : organizations.unknown.get(home);
      const why = own.refused ?? teams.refused ?? open;
      if (why === undefined) continue;
      teamsFound.unknown.set(id, why);
      const hider = home ?? (hidden.size === 1 ? [...hidden].join() : undefined);
      if (why === 'sso' && hider !== undefined && hidden.has(hider)) teamsFound.hiddenBy.set(id, hider);
    }
    return { organizations, teams: teamsFound };
  });
  const toName = new Set([...found.organizations.unknown.keys(), ...found.teams.hiddenBy.values()]);
  const names = await askNames(connection, credential, [...toName]);
  return { ...found, names };
}

/** GitHub's documented prefix of a GitHub App's user access token; an OAuth App's begins with `gho_`. */
function isGitHubAppToken(token: string): boolean {
  return token.startsWith('ghu_');
}

/** Returns why teams are unknown when the app sees members nowhere. */
async function askInstallations(
  conversation: Conversation,
  absent: readonly string[],
  teamsToo: boolean,
  organizations: Found,
): Promise<UnknownReason | undefined> {
  if (absent.length === 0 && !teamsToo) return undefined;
  const { rows, refused } = await list(conversation, 'GET /user/installations', readInstallation);
  const visible = new Set(rows.flatMap((id) => (id === undefined ? [] : [id])));
  for (const id of absent) {
    if (refused !== undefined || !visible.has(id)) organizations.unknown.set(id, refused ?? 'not-installed');
  }
  return refused ?? (visible.size === 0 ? 'not-installed' : undefined);
}

async function askOneByOne(
  conversation: Conversation,
  absent: readonly string[],
  _teamsToo: boolean,
  organizations: Found,
): Promise<undefined> {
  await Promise.all(
    absent.map(async (id) => {
      const answer = await askOne(conversation, id);
      if (answer === 'in') organizations.in.push(id);
      else if (answer !== 'out') organizations.unknown.set(id, answer);
    }),
  );
}

async function askOne(conversation: Conversation, id: string): Promise<'in' | 'out' | UnknownReason> {
  try {
    const organization = await conversation.ask('GET /organizations/{id}', { id });
    const org = readLogin(
      readFields(organization.data, 'an organisation')['login'],
      "an organisation's login",
    );
    const asked = await conversation
      .ask('GET /user/memberships/orgs/{org}', { org })
      .catch((error: unknown) => {
        if (error instanceof GitHubError && error.answeredStatus === 404) return undefined;
        throw error;
      });
    if (asked === undefined) return 'out';
    const membership = readMembership(asked.data);
    if (membership.id !== id) return 'refused';
    return membership.state === 'active' ? 'in' : 'out';
  } catch (error) {
    if (error instanceof GitHubError && error.code === 'refused') return error.sso ? 'sso' : 'refused';
    // The organisation cannot be looked up by this token: whether the person is in it stays open.
    if (error instanceof GitHubError && error.answeredStatus === 404) return 'refused';
    throw error;
  }
}

async function list<Row>(
  conversation: Conversation,
  route: Route,
  read: (row: unknown) => Row,
): Promise<Seen<Row>> {
  try {
    const pages = await conversation.askAll(route);
    return {
      rows: pages.flatMap(({ data }) => readList(data, route).map(read)),
      hidden: new Set(pages.flatMap(readHidden)),
    };
  } catch (error) {
    if (!(error instanceof GitHubError) || error.code !== 'refused') throw error;
    return { rows: [], hidden: new Set(), refused: error.sso ? 'sso' : 'refused' };
  }
}

function readHidden({ headers }: Answer): string[] {
  const header = headers['x-github-sso'];
  if (header === undefined) return [];
  const ids = /^partial-results; *organizations=([1-9][0-9]*(?:, *[1-9][0-9]*)*)$/.exec(String(header))?.[1];
  if (ids !== undefined) return ids.split(/, */);
  throw new GitHubError(
    'malformed',
    'GitHub says that single sign-on hides a part, in a form that is not known here.',
  );
}

function readMembership(row: unknown): { id: string; state: 'active' | 'pending' } {
  const fields = readFields(row, 'a membership');
  return {
    id: readId(
      readFields(fields['organization'], "a membership's organisation")['id'],
      "an organisation's id",
    ),
    state: readWord(fields['state'], ['active', 'pending'], "a membership's state"),
  };
}

function readTeam(row: unknown): { id: string; organization: string } {
  const fields = readFields(row, 'a team');
  return {
    id: readId(fields['id'], "a team's id"),
    organization: readId(
      readFields(fields['organization'], "a team's organisation")['id'],
      "an organisation's id",
    ),
  };
}

/** The organisation whose members the installation may read; undefined when it may not. */
function readInstallation(row: unknown): string | undefined {
  const fields = readFields(row, 'an installation');
  const { members } = readFields(fields['permissions'], "an installation's permissions");
  if (fields['target_type'] !== 'Organization' || (fields['suspended_at'] ?? null) !== null) return undefined;
  const id = readId(fields['target_id'], "an installation's organisation");
  return members === 'read' || members === 'write' ? id : undefined;
}

/** Names are only shown: they get little time, and are left out where they cannot be had. */
async function askNames(
  connection: Connection,
  credential: { authorization: string; token: string },
  ids: readonly string[],
): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  if (ids.length === 0) return names;
  const ask = (conversation: Conversation) =>
    Promise.allSettled(
      ids.map(async (id) => {
        const { data } = await conversation.ask('GET /organizations/{id}', { id });
        const fields = readFields(data, 'an organisation');
        if (readId(fields['id'], "an organisation's id") !== id) return;
        names.set(id, readLogin(fields['login'], "an organisation's login"));
      }),
    );
  await connection.converse(credential, ask, NAME_TIMEOUT_MS).catch(() => undefined);
  return names;
}
