/**
 * `beacon ca init`: makes a CA's folder — keys, configuration, inventory, services, an explained policy — whole or not at
 * all: everything is written into a folder beside it, which takes its name at the end by one rename.
 */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { createGitHub } from '@beacon/github';
import { createPolicyEngine } from '@beacon/policy';
import { formatPrivateKey, generateKey } from '@beacon/ssh/key';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { readCaConfiguration } from './configuration.ts';
import { CaError } from './error.ts';
import {
  configurationText,
  githubAppFields,
  type InitChoices,
  inventoryText,
  policyText,
  servicesText,
} from './init-files.ts';
import { authorityComment, makeTokenKey } from './keys.ts';
import { readInventory, readPolicies } from './load.ts';

export interface InitReport {
  readonly folder: string;
  readonly files: readonly string[];
  readonly user_ca: string;
  readonly host_ca: string;
  readonly administrator: string | null;
  readonly github_app: Readonly<Record<string, string>>;
  readonly next: readonly string[];
}

export interface InitRequest extends Omit<InitChoices, 'administrator'> {
  readonly folder: string;
  /** A login at the provider, looked up once for its numeric id. */
  readonly administratorLogin?: string;
}

/**
 * Throws CaError `init-refused` when the folder is there and not empty, or an init that was killed left its draft; GitHubError when the login is not found,
 * ServerError or PolicyError when what was chosen makes no configuration. Nothing is left behind then.
 */
export async function initCa(request: InitRequest): Promise<InitReport> {
  const folder = resolve(request.folder);
  refuseExisting(folder);
  refuseDraft(folder);
  const choices: InitChoices = {
    ...request,
    ...(request.administratorLogin === undefined
      ? {}
      : { administrator: await findAdministrator(request, request.administratorLogin) }),
  };
  mkdirSync(dirname(folder), { recursive: true });
  const draft = mkdtempSync(`${folder}${DRAFT}`);
  try {
    writeTexts(draft, choices);
    const keys = await writeKeys(draft);
    for (const name of ['keys', 'policy', '.']) syncFolder(join(draft, name));
    const files = readdirSync(draft, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(draft.length + 1))
      .sort();
    refuseExisting(folder);
    renameSync(draft, folder);
    syncFolder(dirname(folder));
    return report(folder, files, keys, choices);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
}

function refuseExisting(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new CaError(
      'init-refused',
      `${folder} is not empty: init never overwrites a CA; name another folder with --dir`,
    );
  }
}

/** What the draft's name has behind the folder's, before what makes it unique. */
const DRAFT = '.new-';

/** Not removed here: another init may be at work in it. */
function refuseDraft(folder: string): void {
  const parent = dirname(folder);
  const begins = `${basename(folder)}${DRAFT}`;
  const left = existsSync(parent) ? readdirSync(parent).find((name) => name.startsWith(begins)) : undefined;
  if (left === undefined) return;
  const draft = join(parent, left);
  throw new CaError(
    'init-refused',
    `${draft} is the draft of an init that was ended half way: the keys in it were never used. If no other init is at work, remove it (rm -r ${draft}) and try again`,
  );
}

async function findAdministrator(request: InitRequest, login: string) {
  const github = createGitHub({ ...request, clientId: 'none', clientSecret: () => '' });
  const { person, login: name } = await github.findPersonByLogin(login);
  return { person, login: name };
}

function writeTexts(draft: string, choices: InitChoices): void {
  // The unit's account is not root, who makes the files: it may read all of them but the keys, and write none.
  const mode = choices.systemd === true ? 0o755 : 0o700;
  chmodSync(draft, mode);
  if (choices.systemd !== true) mkdirSync(join(draft, 'data'), { mode });
  mkdirSync(join(draft, 'policy'));
  chmodSync(join(draft, 'policy'), mode);
  writeDurably(join(draft, 'ca.yaml'), configurationText(choices), 0o644);
  writeDurably(join(draft, 'inventory.yaml'), inventoryText, 0o644);
  writeDurably(join(draft, 'services.yaml'), servicesText, 0o644);
  writeDurably(join(draft, 'policy/policy.cedar'), policyText(choices), 0o644);
  readBack(draft);
}

/** What was chosen stands in the files as it was given: what no later start would read is refused now. */
function readBack(draft: string): void {
  const { github, inventory, policy } = readCaConfiguration(join(draft, 'ca.yaml'));
  const files = readPolicies(policy);
  createPolicyEngine({ files, inventory: readInventory(inventory), provider: github.provider }).close();
}

/** Answers the fingerprints of user CA and host CA. */
async function writeKeys(draft: string): Promise<string[]> {
  mkdirSync(join(draft, 'keys'), { mode: 0o700 });
  const write = (name: string, text: string, mode: number) =>
    writeDurably(join(draft, 'keys', name), text, mode);
  const passphrase = randomBytes(32).toString('base64url');
  write('passphrase', `${passphrase}\n`, 0o600);
  const fingerprints: string[] = [];
  for (const name of ['user_ca', 'host_ca']) {
    const { privateKey, publicKey } = generateKey('ssh-ed25519');
    const comment = `beacon ${name.replace('_', ' ')}`;
    write(name, await formatPrivateKey(privateKey, { passphrase, comment }), 0o600);
    write(`${name}.pub`, `${formatPublicKeyLine(publicKey, comment)}\n`, 0o644);
    fingerprints.push(fingerprint(publicKey));
  }
  const status = generateKey('ssh-ed25519');
  const comment = authorityComment('trust status');
  write('trust_status', await formatPrivateKey(status.privateKey, { passphrase, comment }), 0o600);
  write('trust_status.pub', `${formatPublicKeyLine(status.publicKey, comment)}\n`, 0o644);
  write('token_signing.jwk', `${JSON.stringify(await makeTokenKey())}\n`, 0o600);
  write('sealing', `${randomBytes(32).toString('base64')}\n`, 0o600);
  return fingerprints;
}

function writeDurably(file: string, text: string, mode: number): void {
  const descriptor = openSync(file, 'wx', mode);
  try {
    writeSync(descriptor, text);
    // Whatever the umask of who types it.
    fchmodSync(descriptor, mode);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

function report(
  folder: string,
  files: readonly string[],
  keys: readonly string[],
  choices: InitChoices,
): InitReport {
  const configuration = join(folder, 'ca.yaml');
  const needsClient = `put the App's client id into ${configuration} (github.client_id) and its secret into a file: install -m 600 /dev/stdin ${join(folder, 'keys/github_client_secret')}`;
  return {
    folder: join(dirname(folder), basename(folder)),
    files,
    user_ca: keys[0] ?? '',
    host_ca: keys[1] ?? '',
    administrator: choices.administrator?.person ?? null,
    github_app: githubAppFields(choices),
    next:
      choices.systemd === true
        ? [
            needsClient,
            `CREDENTIALS_DIRECTORY=${join(folder, 'keys')} beacon ca check --config ${configuration}`,
            'systemctl enable --now beacon-ca',
          ]
        : [
            needsClient,
            `beacon ca check --config ${configuration}`,
            `beacon ca serve --config ${configuration}`,
          ],
  };
}
