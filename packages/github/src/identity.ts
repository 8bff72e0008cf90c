/**
 * Who somebody is at GitHub: the numeric id, which never changes hands. The login can be renamed and taken over by
 * somebody else, so it is only shown (REST documentation, "Get the authenticated user", "Get a user").
 */
import { type Fields, readFields, readId, readLogin, readWord } from './answer.ts';
import type { Conversation } from './connection.ts';
import { GitHubError } from './error.ts';

export interface Identity {
  /** The numeric id as decimal text, `583231`. */
  readonly id: string;
  /** `<provider>:<id>`, the person as Beacon knows them. */
  readonly person: string;
  readonly login: string;
  /** What the person calls themselves, when it can be shown as it stands. */
  readonly name?: string;
}

/** The longest that GitHub allows. */
const NAME_MAX_CHARACTERS = 255;

export async function askIdentity(conversation: Conversation, provider: string): Promise<Identity> {
  const { data } = await conversation.ask('GET /user');
  return readIdentity(readFields(data, 'the person'), provider);
}

/** Throws GitHubError `malformed`; also for what is no person, such as a bot or an organisation. */
export function readIdentity(fields: Fields, provider: string): Identity {
  readWord(fields['type'], ['User'], "the person's type");
  const id = readId(fields['id'], "the person's id");
  const name = fields['name'];
  return {
    id,
    person: `${provider}:${id}`,
    login: readLogin(fields['login'], "the person's login"),
    ...(isShowable(name) ? { name } : {}),
  };
}

/** The person who has that login now. Throws GitHubError `not-found`. */
export async function findIdentity(
  conversation: Conversation,
  provider: string,
  login: string,
): Promise<Identity> {
  const missing = (what: string) =>
    new GitHubError('not-found', `${login} is ${what}. Check the spelling of the login.`);
  const answer = await conversation.ask('GET /users/{login}', { login }).catch((error: unknown) => {
    if (error instanceof GitHubError && error.answeredStatus === 404) throw missing('nobody at GitHub');
    throw error;
  });
  const fields = readFields(answer.data, 'the person');
  if (fields['type'] === 'Organization' || fields['type'] === 'Bot') throw missing('not a person');
  const identity = readIdentity(fields, provider);
  if (identity.login.toLowerCase() !== login.toLowerCase())
    throw missing('not the login that GitHub answers');
  return identity;
}

function isShowable(name: unknown): name is string {
  return (
    typeof name === 'string' && name !== '' && name.length <= NAME_MAX_CHARACTERS && !/\p{C}/u.test(name)
  );
}
