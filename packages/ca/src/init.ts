/**
 * `beacon ca init`: makes a CA's folder — keys, configuration, inventory, services, an explained policy — whole or not at
 * all: everything is written into a folder beside it, which takes its name at the end by one rename.
 */
import { randomBytes } from 'node:crypto';
import { join, resolve } from 'node:path';
import { createGitHub } from '@beacon/github';
import { createPolicyEngine } from '@beacon/policy';
import { type DraftFolder, makeNewFolder, requireNewFolder, startingSteps } from '@beacon/server';
import { formatPrivateKey, generateKey } from '@beacon/ssh/key';
import { fingerprint, formatPublicKeyLine } from '@beacon/ssh/public-key';
import { readCaConfiguration } from './configuration.ts';
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
 * Throws ServerError `init-refused` when the folder is there and not empty, or an init that was killed left its draft; GitHubError when the login is not found,
 * ServerError or PolicyError when what was chosen makes no configuration. Nothing is left behind then.
 */
export async function initCa(request: InitRequest): Promise<InitReport> {
  const asked = { folder: resolve(request.folder), holds: 'a CA', systemd: request.systemd === true };
  requireNewFolder(asked);
  const choices: InitChoices = {
    ...request,
    ...(request.administratorLogin === undefined
      ? {}
      : { administrator: await findAdministrator(request, request.administratorLogin) }),
  };
  const { files, made: keys } = await makeNewFolder(asked, (draft) => {
    writeTexts(draft, choices);
    return writeKeys(draft);
  });
  const configuration = join(asked.folder, 'ca.yaml');
  const needsClient = `put the App's client id into ${configuration} (github.client_id) and its secret into a file: install -m 600 /dev/stdin ${join(asked.folder, 'keys/github_client_secret')}`;
  return {
    folder: asked.folder,
    files,
    user_ca: keys[0] ?? '',
    host_ca: keys[1] ?? '',
    administrator: choices.administrator?.person ?? null,
    github_app: githubAppFields(choices),
    next: [needsClient, ...startingSteps('ca', asked)],
  };
}

async function findAdministrator(request: InitRequest, login: string) {
  const github = createGitHub({ ...request, clientId: 'none', clientSecret: () => '' });
  const { person, login: name } = await github.findPersonByLogin(login);
  return { person, login: name };
}

function writeTexts(draft: DraftFolder, choices: InitChoices): void {
  draft.makeFolder('policy');
  draft.write('ca.yaml', configurationText(choices), 0o644);
  draft.write('inventory.yaml', inventoryText, 0o644);
  draft.write('services.yaml', servicesText, 0o644);
  draft.write('policy/policy.cedar', policyText(choices), 0o644);
  readBack(draft.path);
}

/** What was chosen stands in the files as it was given: what no later start would read is refused now. */
function readBack(draft: string): void {
  const { github, inventory, policy } = readCaConfiguration(join(draft, 'ca.yaml'));
  const files = readPolicies(policy);
  createPolicyEngine({ files, inventory: readInventory(inventory), provider: github.provider }).close();
}

/** Answers the fingerprints of user CA and host CA. */
async function writeKeys(draft: DraftFolder): Promise<string[]> {
  const write = (name: string, text: string, mode: 0o600 | 0o644) => draft.write(`keys/${name}`, text, mode);
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
