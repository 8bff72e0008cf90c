/** `ca key`, `ca root init|draft|sign`, `ca rotate prepare|retire|lost`: keys, and the trust root before it is published. */
import { parseArgs } from 'node:util';
import type { TrustRoot } from '@beacon/protocol/trust';
import { print, printJson, talk } from '@beacon/server';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { DEFAULT_CONFIGURATION, read, usage } from './arguments.ts';
import type { KeyKind } from './keys.ts';
import { loseCaKey } from './lost-key.ts';
import { draftRoot, makeKeyFile, signRoot } from './trust-documents.ts';

const kinds: Readonly<Record<string, KeyKind>> = { user: 'user', host: 'host', status: 'trust status' };

export async function makeKey(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['for', 'passphrase-file']);
  const kind = kinds[values.for ?? ''];
  const [file] = positionals;
  if (file === undefined) throw usage('name the file for the key', 'ca key');
  if (kind === undefined) throw usage('--for is user, host or status', 'ca key');
  const made = await makeKeyFile(file, kind, values['passphrase-file']);
  if (values.json) return printJson(made);
  print(`${made.fingerprint}\n`);
  return 0;
}

export async function rootInit(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['passphrase-file']);
  const [file] = positionals;
  if (file === undefined)
    throw usage('name the file for the root key, on a medium that stays offline', 'ca root init');
  const made = await makeKeyFile(file, 'trust root', values['passphrase-file']);
  if (values.json) return printJson(made);
  print(`${made.fingerprint}\n`);
  talk(
    `The root key is in ${made.file}, its passphrase in ${made.passphraseFile}: keep both offline and apart, each with a copy.\nCarry ${made.file}.pub to the CA, name it there as keys.trust_root, and write the fingerprint down.\n`,
  );
  return 0;
}

export async function rootDraft(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      config: { type: 'string' },
      out: { type: 'string' },
      hosts: { type: 'string' },
      login: { type: 'string', multiple: true },
      'user-ca': { type: 'string', multiple: true },
      'host-ca': { type: 'string', multiple: true },
      json: { type: 'boolean' },
    },
  });
  if (values.out === undefined) throw usage('--out is missing: where shall the draft go?', 'ca root draft');
  const root = await draftRoot(
    {
      configurationFile: values.config ?? DEFAULT_CONFIGURATION,
      out: values.out,
      logins: values.login ?? [],
      userCa: values['user-ca'] ?? [],
      hostCa: values['host-ca'] ?? [],
      ...(values.hosts === undefined ? {} : { hosts: values.hosts }),
    },
    new Date(),
  );
  if (values.json === true) return printJson(describe(root));
  show(root);
  talk(
    `Carry ${values.out} to the root key, and sign it there: beacon ca root sign ${values.out} --key FILE\n`,
  );
  return 0;
}

export async function rootSign(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['key', 'passphrase-file', 'handover-to']);
  const [document] = positionals;
  const { key } = values;
  if (document === undefined || key === undefined)
    throw usage('name the document, and the root key by --key', 'ca root sign');
  const signed = await signRoot(
    {
      document,
      key,
      passphraseFile: values['passphrase-file'] ?? `${key}.passphrase`,
      ...(values['handover-to'] === undefined ? {} : { handoverTo: values['handover-to'] }),
    },
    new Date(),
  );
  if (values.json) return printJson({ ...describe(signed.root), signature: signed.signature, by: signed.by });
  show(signed.root);
  print(`signed by  ${signed.by}\n`);
  talk(`Wrote ${signed.signature}. Carry it to where you administer: beacon ca root publish ${document}\n`);
  return 0;
}

/** The next key, and a root that names it beside the ones in use. */
export async function rotatePrepare(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['for', 'out', 'passphrase-file', 'config']);
  const [file] = positionals;
  const kind = values.for;
  if (file === undefined || values.out === undefined || (kind !== 'user' && kind !== 'host'))
    throw usage(
      'name the file for the new key, --for user or host, and --out for the draft',
      'ca rotate prepare',
    );
  const made = await makeKeyFile(file, kind, values['passphrase-file']);
  const added = [`${file}.pub`];
  const root = await draftRoot(
    {
      configurationFile: values.config ?? DEFAULT_CONFIGURATION,
      out: values.out,
      logins: [],
      userCa: kind === 'user' ? added : [],
      hostCa: kind === 'host' ? added : [],
    },
    new Date(),
  );
  if (values.json) return printJson({ key: made, root: describe(root) });
  show(root);
  talk(
    `Name the key in ca.yaml below keys, and restart the CA; it signs with it only when it is activated:\n  ${kind}_ca_next: { file: ${file}, passphrase_file: ${made.passphraseFile} }\nSign and publish ${values.out}, wait for the hosts (beacon ca rotate status), then: beacon ca rotate activate ${file}.pub\n`,
  );
  return 0;
}

/** A root without the keys that signed before. */
export async function rotateRetire(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['out', 'config'], ['now']);
  if (values.out === undefined)
    throw usage('--out is missing: where shall the draft go?', 'ca rotate retire');
  const root = await draftRoot(
    {
      configurationFile: values.config ?? DEFAULT_CONFIGURATION,
      out: values.out,
      logins: [],
      userCa: [],
      hostCa: [],
      retire: values.now ? 'now' : 'ready',
    },
    new Date(),
  );
  if (values.json) return printJson(describe(root));
  show(root);
  talk(
    `Sign ${values.out}, then: beacon ca root publish ${values.out}${values.now ? ' --now, which revokes the keys that it leaves out' : ''}\n`,
  );
  return 0;
}

/** Says of the key that signs that nobody has it any more, so that the next start takes another. */
export async function rotateLost(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['for', 'reason', 'config']);
  const { for: kind, reason } = values;
  if ((kind !== 'user' && kind !== 'host') || reason === undefined)
    throw usage('say --for user or host, and --reason', 'ca rotate lost');
  const done = await loseCaKey(
    { configurationFile: values.config ?? DEFAULT_CONFIGURATION, kind, reason },
    () => new Date(),
  );
  if (values.json) return printJson(done);
  print(`${done.key}\n`);
  talk(
    `It signs no more. Name another as keys.${kind}_ca and start the CA, which takes that one; then publish a root that names it.\n`,
  );
  return 0;
}

function describe(root: TrustRoot) {
  const names = (lines: readonly string[]) => lines.map((line) => fingerprint(parsePublicKeyLine(line).key));
  return {
    version: root.version,
    expires: root.expires.toISOString(),
    hosts: root.hosts,
    logins: root.logins,
    user_ca: names(root.userCa),
    host_ca: names(root.hostCa),
    status_key: names([root.statusKey])[0],
  };
}

/** What a person looks at before they sign. */
function show(root: TrustRoot): void {
  const { user_ca: users, host_ca: hosts, ...rest } = describe(root);
  print(`version    ${rest.version}\nexpires    ${rest.expires}\nhosts      ${rest.hosts}\n`);
  print(`logins     ${rest.logins.join(' ')}\n`);
  for (const key of users) print(`user CA    ${key}\n`);
  for (const key of hosts) print(`host CA    ${key}\n`);
  print(`status key ${rest.status_key}\n`);
}
