/** What `beacon ca init` writes: the texts, each explained to who will edit it next. Keys are made in `init.ts`. */

import { GITHUB_CALLBACK_PATH } from './github-sign-in.ts';

/** What stands for the GitHub App's client id until there is one; `check` and `serve` refuse it. */
export const CLIENT_ID_TO_SET = 'SET-ME';

export interface InitChoices {
  readonly publicUrl: string;
  readonly listenHost: string;
  readonly listenPort: number;
  readonly provider: string;
  readonly webUrl: string;
  readonly apiUrl: string;
  readonly clientId: string;
  /** For the unit beacon-ca.service: secrets are its credentials, the store lies in its state folder. */
  readonly systemd?: boolean;
  /** `github:583231` and the login name of that moment. */
  readonly administrator?: { readonly person: string; readonly login: string };
}

/** Where the unit keeps the store: systemd makes the folder. */
export const STATE_FOLDER = '/var/lib/beacon-ca';

export function configurationText(choices: InitChoices): string {
  const systemd = choices.systemd === true;
  const secrets = systemd ? '$CREDENTIALS_DIRECTORY' : 'keys';
  return `# The certificate authority's configuration. Relative paths are taken from this file's folder.
# Every setting and its default: beacon ca serve --help
public_url: ${choices.publicUrl}
listen:
  host: ${choices.listenHost}
  port: ${choices.listenPort}
store: ${systemd ? STATE_FOLDER : 'data'}/ca.db
# Figures for Prometheus, on a port of their own that belongs on no network:
# metrics: { host: 127.0.0.1, port: 9464 }

# Two SSH authorities, one key for tokens and checkpoints, one that seals GitHub tokens in the store.
# Who holds user_ca and its passphrase can make certificates for every host: see SECURITY.md.
${systemd ? CREDENTIALS : ''}keys:
  user_ca: { file: ${secrets}/user_ca, passphrase_file: ${secrets}/passphrase }
  host_ca: { file: ${secrets}/host_ca, passphrase_file: ${secrets}/passphrase }
  token_signing: ${secrets}/token_signing.jwk
  sealing: ${secrets}/sealing
  # What hosts trust is signed twice: its root by a key that is kept offline (docs/trust.md), its status by this one.
  trust_status: { file: ${secrets}/trust_status, passphrase_file: ${secrets}/passphrase }
  # trust_root: trust_root.pub

# Your GitHub App: docs/github-app.md
github:
  provider: ${choices.provider}
  web_url: ${choices.webUrl}
  api_url: ${choices.apiUrl}
  client_id: ${choices.clientId}
  client_secret_file: ${secrets}/github_client_secret

# A login ends after this many hours, whatever is done with it; at most 8.
session: { max_hours: 8 }

inventory: inventory.yaml
services: services.yaml
policy: policy
`;
}

const CREDENTIALS = `# Each $CREDENTIALS_DIRECTORY/NAME is a LoadCredential=NAME:FILE of the unit beacon-ca.service.
`;

export const inventoryText = `# The commands that hosts offer, in the form of a host's allowlist (docs/policy.md). A policy can name these and
# no others, and their parameters. Hosts themselves are registered with: beacon ca host add
version: 1
commands: {}
#  runner.install:
#    summary: Download, verify and unpack the GitHub Actions runner
#    params:
#      name: { pattern: "[a-z0-9][a-z0-9-]{0,62}" }
#      version: { pattern: "[0-9]+[.][0-9]+[.][0-9]+" }
`;

export const servicesText = `# The services that may act for people who are logged in, each with its public key. Review changes like code.
# Make a key pair and the entry to paste here with: beacon ca service key ID
version: 1
services: {}
`;

export function policyText(choices: InitChoices): string {
  const administrators =
    choices.administrator === undefined
      ? `// Nobody administers this CA yet. Put a person here: their numeric id is the "id" in
// ${choices.apiUrl}/users/LOGIN
//
// @id("administrators")
// permit (
//   principal == Person::"${choices.provider}:583231",
//   action in [Action::"ca.hosts", Action::"ca.persons", Action::"ca.revoke", Action::"ca.records", Action::"ca.decisions", Action::"ca.rotate"],
//   resource
// );
`
      : `// ${choices.administrator.login}, by numeric id: a login name can be given to somebody else, the number cannot.
@id("administrators")
permit (
  principal == Person::"${choices.administrator.person}",
  action in [Action::"ca.hosts", Action::"ca.persons", Action::"ca.revoke", Action::"ca.records", Action::"ca.decisions", Action::"ca.rotate"],
  resource
);
`;
  return `// Who may do what on which host. What no policy permits is denied. The language: docs/policy.md
// After a change: beacon policy check, and beacon policy test with cases of your own.

${administrators}
// An example to copy: members of one GitHub team may log in as "deploy" to the hosts of one pool, for 15 minutes at
// most, with a terminal. The team's numeric id is the "id" in ${choices.apiUrl}/orgs/ORG/teams/TEAM
//
// @id("web-team-logs-in")
// @max_lifetime("15m")
// @extensions("permit-pty")
// permit (
//   principal in Team::"${choices.provider}:1234567",
//   action == Action::"ssh",
//   resource in Pool::"web"
// ) when { context.login == "deploy" };
`;
}

/** What to copy into the form at GitHub. */
export function githubAppFields(choices: InitChoices): Record<string, string> {
  return {
    'GitHub App name': 'beacon (any name)',
    'Homepage URL': choices.publicUrl,
    'Callback URL': `${choices.publicUrl}${GITHUB_CALLBACK_PATH}`,
    'Expire user authorization tokens': 'on',
    'Request user authorization (OAuth) during installation': 'off',
    'Enable Device Flow': 'off',
    'Webhook → Active': 'off',
    'Organization permissions → Members': 'Read-only',
    'Where can this GitHub App be installed?': 'Any account whose teams your policies name',
  };
}
