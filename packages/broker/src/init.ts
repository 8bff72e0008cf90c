/**
 * `beacon broker init`: makes a broker's folder — its two keys and its configuration — whole or not at all: everything is
 * written into a folder beside it, which takes its name at the end by one rename.
 */
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
import { makeSealingKey, makeServiceKey } from './broker-keys.ts';
import { readBrokerConfiguration } from './configuration.ts';
import { BrokerError } from './error.ts';
import { configurationText, type InitChoices } from './init-files.ts';
import { CALLBACK_PATH } from './portal-pages.ts';

export interface InitReport {
  readonly folder: string;
  readonly files: readonly string[];
  readonly service: string;
  /** To be reviewed and pasted into the CA's services.yaml, under `services:`. */
  readonly entry: string;
  readonly next: readonly string[];
}

export interface InitRequest extends InitChoices {
  readonly folder: string;
}

/**
 * Throws BrokerError `init-refused` when the folder is there and not empty, or an init that was killed left its draft;
 * ServerError or BrokerError `configuration` when what was chosen makes no configuration. Nothing is left behind then.
 */
export async function initBroker(request: InitRequest): Promise<InitReport> {
  const folder = resolve(request.folder);
  refuseExisting(folder);
  refuseDraft(folder);
  mkdirSync(dirname(folder), { recursive: true });
  const draft = mkdtempSync(`${folder}${DRAFT}`);
  try {
    const { text, entry } = await makeServiceKey(request.service, request.publicUrl, CALLBACK_PATH);
    writeFolder(draft, request, text);
    readBrokerConfiguration(join(draft, 'broker.yaml'));
    for (const name of ['keys', '.']) syncFolder(join(draft, name));
    const files = ['broker.yaml', 'keys/sealing', 'keys/service.jwk'];
    refuseExisting(folder);
    renameSync(draft, folder);
    syncFolder(dirname(folder));
    return { folder, files, service: request.service, entry, next: nextSteps(folder, request) };
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
}

function refuseExisting(folder: string): void {
  if (!existsSync(folder) || readdirSync(folder).length === 0) return;
  throw new BrokerError(
    'init-refused',
    `${folder} is not empty: init never overwrites a broker; name another folder with --dir`,
  );
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
  throw new BrokerError(
    'init-refused',
    `${draft} is the draft of an init that was ended half way: the keys in it were never used. If no other init is at work, remove it (rm -r ${draft}) and try again`,
  );
}

function writeFolder(draft: string, choices: InitChoices, serviceKey: string): void {
  // The unit's account is not root, who makes the files: it may read the configuration, and write nothing.
  const mode = choices.systemd === true ? 0o755 : 0o700;
  chmodSync(draft, mode);
  if (choices.systemd !== true) mkdirSync(join(draft, 'data'), { mode });
  mkdirSync(join(draft, 'keys'), { mode: 0o700 });
  writeDurably(join(draft, 'broker.yaml'), configurationText(choices), 0o644);
  writeDurably(join(draft, 'keys/service.jwk'), serviceKey, 0o600);
  writeDurably(join(draft, 'keys/sealing'), makeSealingKey(), 0o600);
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

function nextSteps(folder: string, { service, systemd }: InitChoices): readonly string[] {
  const configuration = join(folder, 'broker.yaml');
  const review = `give the entry above to the CA's administrator, who reviews it, pastes it under "services:" in services.yaml, lets the CA read it again (systemctl reload beacon-ca), and permits what it may do where context.service == "${service}"`;
  return systemd === true
    ? [
        review,
        `CREDENTIALS_DIRECTORY=${join(folder, 'keys')} beacon broker check --config ${configuration}`,
        'systemctl enable --now beacon-broker',
      ]
    : [
        review,
        `beacon broker check --config ${configuration}`,
        `beacon broker serve --config ${configuration}`,
      ];
}
