/** What `beacon broker init` writes: the configuration, explained to who will edit it next. Keys are made in `broker-keys.ts`. */

export interface InitChoices {
  readonly publicUrl: string;
  readonly caUrl: string;
  readonly service: string;
  readonly listenHost: string;
  readonly listenPort: number;
  readonly provider: string;
  readonly webUrl: string;
  readonly apiUrl: string;
  /** For the unit beacon-broker.service: secrets are its credentials, the store lies in its state folder. */
  readonly systemd?: boolean;
}

/** Where the unit keeps the store: systemd makes the folder. */
const STATE_FOLDER = '/var/lib/beacon-broker';

export function configurationText(choices: InitChoices): string {
  const systemd = choices.systemd === true;
  const secrets = systemd ? '$CREDENTIALS_DIRECTORY' : 'keys';
  return `# The broker's configuration. Relative paths are taken from this file's folder.
# Every setting and its default: beacon broker serve --help
public_url: ${choices.publicUrl}
listen:
  host: ${choices.listenHost}
  port: ${choices.listenPort}
store: ${systemd ? STATE_FOLDER : 'data'}/broker.db
# Figures for Prometheus, on a port of their own that belongs on no network:
# metrics: { host: 127.0.0.1, port: 9465 }

# The certificate authority, and as which of its services this broker is known there: its entry in the CA's services.yaml
# names the public half of this key.
ca:
  url: ${choices.caUrl}
  service: ${choices.service}
  key_file: ${secrets}/service.jwk

# Half of what seals the sessions of browsers in the store; the other half is in their cookies.
keys:
  sealing: ${secrets}/sealing

# Where runners are registered: the same GitHub as the CA's.
github:
  provider: ${choices.provider}
  web_url: ${choices.webUrl}
  api_url: ${choices.apiUrl}

# Procedures of your own (docs/procedures.md), beside runner.provision, runner.retire and runner.upgrade:
# procedures: procedures
`;
}
