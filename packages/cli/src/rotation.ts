/** `beacon ca rotate status|activate`: whether hosts trust the next CA key, before it is taken into use. */
import { isName, nameForms } from '@beacon/protocol/name';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import { readPublicKey } from './hosts.ts';
import { formatTable } from './terminal.ts';

export interface ActivateOptions {
  readonly without: readonly string[];
  readonly reason: string;
  readonly json: boolean;
}

const SHOWN = 10;

/** Each key of the newest trust root, and who lacks it. */
export async function showRotation(context: Context, options: { readonly json: boolean }): Promise<number> {
  const { api } = await openCa(context);
  const keys = await api.rotation();
  if (options.json) {
    context.terminal.json({ keys });
    return 0;
  }
  const rows = keys.map(({ kind, fingerprint: key, inUse, since, waiting }) => [
    kind,
    key,
    inUse ? 'in use' : waiting.length === 0 ? 'ready' : 'waiting',
    String(since),
    waiting.length === 0
      ? '-'
      : `${waiting
          .slice(0, SHOWN)
          .map(({ id }) => id)
          .join(',')}${waiting.length > SHOWN ? ',…' : ''}`,
  ]);
  const table = formatTable([['CA', 'KEY', 'STATE', 'SINCE ROOT', 'HOSTS THAT LACK IT'], ...rows]);
  for (const line of table) context.terminal.out(line);
  return 0;
}

/** `key`: the `.pub` file, or the fingerprint. Throws CliError, or what the CA answers: the hosts that lack it. */
export async function activateKey(context: Context, key: string, options: ActivateOptions): Promise<number> {
  for (const host of options.without)
    if (!isName('host', host))
      throw usageError(`${JSON.stringify(host.slice(0, 80))} is not ${nameForms.host}`);
  const print = key.startsWith('SHA256:')
    ? key
    : fingerprint(parsePublicKeyLine(await readPublicKey(key)).key);
  const { api } = await openCa(context);
  const record = await api.activateKey({ key: print, without: [...options.without], reason: options.reason });
  if (options.json) context.terminal.json({ key: print, record });
  else {
    context.terminal.out(`${print} may be taken into use.`);
    context.terminal.talk("Name it in the CA's ca.yaml in place of the one before, and restart the CA.");
  }
  return 0;
}
