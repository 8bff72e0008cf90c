/** TLS for a CA of the demo or of a test that is not on loopback, with an authority of its own. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';

/** A certificate for an address, and the authority that vouches for it, which this process believes from now on. */
export function makeTlsPair(folder: string, address: string): { certificate: string; key: string } {
  mkdirSync(folder, { mode: 0o700 });
  const openssl = (words: readonly string[]) =>
    execFileSync('openssl', ['req', '-x509', ...words], { cwd: folder, stdio: 'pipe' });
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl([...fresh, '-subj', '/CN=demo', '-keyout', 'authority.key', '-out', 'authority.pem']);
  const who = ['-subj', '/CN=ca', '-addext', `subjectAltName=IP:${address}`];
  openssl([
    ...[...fresh, ...who, '-CA', 'authority.pem', '-CAkey', 'authority.key'],
    ...['-keyout', 'ca.key', '-out', 'ca.pem'],
  ]);
  const authority = readFileSync(join(folder, 'authority.pem'), 'utf8');
  setDefaultCACertificates([...getCACertificates('default'), authority]);
  return { certificate: join(folder, 'ca.pem'), key: join(folder, 'ca.key') };
}
