/** `beacon ca rotate status|activate`: whether hosts trust the next CA key, and that the CA signs with it from now on. */
import type { RotatingKey } from '@beacon/client';
import { isName, nameForms } from '@beacon/protocol/name';
import { fingerprint, parsePublicKeyLine } from '@beacon/ssh/public-key';
import { type Context, openCa } from './context.ts';
import { usageError } from './error.ts';
import { readPublicKey } from './hosts.ts';
import { formatTable, formatTime } from './terminal.ts';

export interface ActivateOptions {
  readonly without: readonly string[];
  readonly reason: string;
  readonly json: boolean;
}

const SHOWN = 10;

/** Each key that hosts may trust, who lacks it, and what depends on it still. */
export async function showRotation(context: Context, options: { readonly json: boolean }): Promise<number> {
  const { api } = await openCa(context);
  const { root, keys, unseen } = await api.rotation();
  const { terminal } = context;
  if (options.json) {
    terminal.json({ root, keys: keys.map(keyJson), unseen });
    return 0;
  }
  const rows = keys.map((key) => [key.kind, key.fingerprint, ...describe(key)]);
  for (const line of formatTable([['CA', 'KEY', 'STATE', 'WAITS FOR'], ...rows])) terminal.out(line);
  if (unseen.length > 0) terminal.talk(`Not seen for a day, and not waited for: ${few(unseen)}`);
  return 0;
}

/** The API's own names, as in the other commands. */
function keyJson({ inUse, heldUntil, heldBy, waiting, ...same }: RotatingKey): object {
  return {
    ...same,
    in_use: inUse,
    waiting: waiting.map(({ id, root, seen }) => ({ id, root, seen: seen.toISOString() })),
    held_until: heldUntil?.toISOString() ?? null,
    held_by: heldBy,
  };
}

/** The state, and what the next step waits for. */
function describe({ state, opened, revoked, waiting, heldUntil, heldBy }: RotatingKey): [string, string] {
  if (revoked) return ['revoked', 'a root that leaves it out'];
  if (state === 'next') {
    const waits = [...(opened ? [] : ['ca.yaml (the CA does not have it)']), ...waiting.map(({ id }) => id)];
    return ['next', waits.length > 0 ? few(waits) : 'nothing: activate it'];
  }
  if (state !== 'former') return [state, '-'];
  if (heldUntil !== undefined) return [state, `certificates until ${formatTime(heldUntil)}`];
  return [state, heldBy.length > 0 ? `renewal by ${few(heldBy)}` : 'nothing: retire it'];
}

function few(names: readonly string[]): string {
  return `${names.slice(0, SHOWN).join(',')}${names.length > SHOWN ? ',…' : ''}`;
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
    context.terminal.out(`The CA signs with ${print}.`);
    context.terminal.talk(
      'In ca.yaml it may now stand in place of the one before. When nothing depends on that one (beacon ca rotate status): beacon ca rotate retire',
    );
  }
  return 0;
}
