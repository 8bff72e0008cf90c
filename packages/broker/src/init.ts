/**
 * `beacon broker init`: makes a broker's folder — its two keys and its configuration — whole or not at all: everything is
 * written into a folder beside it, which takes its name at the end by one rename.
 */
import { join, resolve } from 'node:path';
import { type DraftFolder, makeNewFolder, startingSteps } from '@beacon/server';
import { makeSealingKey, makeServiceKey } from './broker-keys.ts';
import { readBrokerConfiguration } from './configuration.ts';
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
 * Throws ServerError `init-refused` when the folder is there and not empty, or an init that was killed left its draft;
 * ServerError `configuration` when what was chosen makes no configuration. Nothing is left behind then.
 */
export async function initBroker(request: InitRequest): Promise<InitReport> {
  const { service, publicUrl } = request;
  const asked = { folder: resolve(request.folder), holds: 'a broker', systemd: request.systemd === true };
  const { files, made: entry } = await makeNewFolder(asked, async (draft) => {
    const { text, entry } = await makeServiceKey(service, publicUrl, CALLBACK_PATH);
    fill(draft, request, text);
    return entry;
  });
  const review = `give the entry above to the CA's administrator, who reviews it, pastes it under "services:" in services.yaml, lets the CA read it again (systemctl reload beacon-ca), and permits what it may do where context.service == "${service}"`;
  return { folder: asked.folder, files, service, entry, next: [review, ...startingSteps('broker', asked)] };
}

function fill(draft: DraftFolder, choices: InitChoices, serviceKey: string): void {
  draft.write('broker.yaml', configurationText(choices), 0o644);
  draft.write('keys/service.jwk', serviceKey, 0o600);
  draft.write('keys/sealing', makeSealingKey(), 0o600);
  // What no later start would read is refused now.
  readBrokerConfiguration(join(draft.path, 'broker.yaml'));
}
