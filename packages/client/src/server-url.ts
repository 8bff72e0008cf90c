/**
 * The address of a Beacon server, as a person typed it or a file names it: https, or http on this machine alone, since
 * tokens and proofs travel over it (RFC 9700 section 2.6).
 */
import { ClientError } from './error.ts';

const LOOPBACK = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])$/;

/** The URL without a slash at its end. Throws ClientError `url-malformed` or `url-insecure`. */
export function parseServerUrl(text: string): string {
  const url = URL.parse(text);
  const shown = JSON.stringify(text.slice(0, 200));
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new ClientError('url-malformed', 'invalid', `${shown} is no address: write https://NAME[:PORT]`);
  }
  if (url.username !== '' || url.password !== '' || /[?#]/.test(text)) {
    throw new ClientError(
      'url-malformed',
      'invalid',
      'the address of a server has no name, password, query or fragment in it: leave them out',
    );
  }
  if (url.protocol === 'http:' && !LOOPBACK.test(url.hostname)) {
    throw new ClientError('url-insecure', 'invalid', `${shown} is not encrypted: write https:// instead`);
  }
  return url.href.replace(/\/+$/, '');
}
