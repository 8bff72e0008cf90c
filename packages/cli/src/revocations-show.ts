/** `beacon revocations show FILE…`: what a revocation list in OpenSSH's form takes back. Malformed ones are refused. */
import { decodeKrl, type Krl, MAX_KRL_BYTES } from '@beacon/ssh/krl';
import { fingerprint } from '@beacon/ssh/public-key';
import type { Context } from './context.ts';
import { showFiles } from './file-verdict.ts';
import { formatTime } from './terminal.ts';

export function showRevocations(
  context: Context,
  files: readonly string[],
  options: { readonly json: boolean },
): Promise<number> {
  return showFiles(context, files, { read: readRevocations, maxBytes: MAX_KRL_BYTES }, options);
}

function readRevocations(bytes: Buffer): { json: object; line: string } {
  const list = decodeKrl(bytes);
  return { json: listJson(list), line: listLine(list) };
}

function listJson(list: Krl): object {
  return {
    version: list.version,
    generated: list.generated,
    comment: list.comment,
    sealed: list.sealed,
    authorities: list.authorities.map(({ ca, serials, keyIds }) => ({
      authority: ca === null ? null : fingerprint(ca),
      serials: serials.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)),
      key_ids: keyIds,
    })),
    keys: list.keys.map(fingerprint),
    fingerprints: list.fingerprints,
  };
}

function listLine(list: Krl): string {
  const serials = list.authorities
    .flatMap((authority) => authority.serials)
    .reduce((sum, { first, last }) => sum + (last - first + 1n), 0n);
  const keyIds = list.authorities.reduce((sum, authority) => sum + authority.keyIds.length, 0);
  return [
    `revocation list ${list.version} of ${formatTime(list.generated)}`,
    `${serials} serials and ${keyIds} key ids of ${list.authorities.length} authorities`,
    `${list.keys.length} keys`,
    `${list.fingerprints.length} fingerprints`,
    list.sealed ? 'sealed' : 'not sealed: if it should be one of ours, its end is missing',
  ].join('; ');
}
