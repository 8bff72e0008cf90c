/**
 * A server's TLS certificate and key, read from PEM files and followed: what is renewed there is taken without dropping a
 * connection, and what cannot be used leaves the last good pair where it was. The files are looked at every few seconds
 * and not watched: certificate tools rename, link and write in many orders, and a pair that fits together is the event.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { ServerError } from './error.ts';
import type { Listening, TlsPair } from './listen.ts';
import { readSecretFile } from './secret-file.ts';

export interface TlsFiles {
  /** The certificate, and behind it those between it and the root. */
  readonly certificateFile: string;
  /** Its private key, readable by this program alone. */
  readonly keyFile: string;
}

export interface ReadTlsPair extends TlsPair {
  readonly expiresAt: Date;
}

/** Throws ServerError `tls` or `secret-file` naming the file and what to do. */
export function readTlsFiles({ certificateFile, keyFile }: TlsFiles): ReadTlsPair {
  let certificate: Buffer;
  let expiresAt: Date;
  try {
    certificate = readFileSync(certificateFile);
    expiresAt = new Date(new X509Certificate(certificate).validTo);
  } catch (error) {
    throw new ServerError('tls', `${certificateFile} cannot be read as a certificate in PEM`, {
      cause: error,
    });
  }
  const key = readSecretFile(keyFile);
  try {
    createSecureContext({ cert: certificate, key });
  } catch (error) {
    throw new ServerError('tls', `${keyFile} is not the private key, in PEM, of ${certificateFile}`, {
      cause: error,
    });
  }
  return { certificate, key, expiresAt };
}

export interface TlsFollowing {
  /** Of the pair that is in use. */
  readonly expiresAt: Date;
  /** Whether what the files hold now could not be used. */
  readonly failed: boolean;
  /** Looks at once. */
  look(): void;
  stop(): void;
}

export interface TlsFollowOptions {
  /** The pair that `listening` began with. */
  readonly from: ReadTlsPair;
  readonly listening: Pick<Listening, 'replaceTls'>;
  readonly onReplaced: (pair: ReadTlsPair) => void;
  /** Told once for each content that cannot be used. */
  readonly onFailed: (error: unknown) => void;
  /** Default 10,000. */
  readonly everyMs?: number;
}

/** Follows the files until `stop`. */
export function followTlsFiles(files: TlsFiles, options: TlsFollowOptions): TlsFollowing {
  let used = options.from;
  let failure: string | undefined;

  function look(): void {
    try {
      const pair = readTlsFiles(files);
      if (digest(pair) !== digest(used)) {
        options.listening.replaceTls(pair);
        used = pair;
        options.onReplaced(pair);
      }
      failure = undefined;
    } catch (error) {
      const said = String(error);
      if (said !== failure) options.onFailed(error);
      failure = said;
    }
  }

  const timer = setInterval(look, options.everyMs ?? 10_000);
  return {
    get expiresAt() {
      return used.expiresAt;
    },
    get failed() {
      return failure !== undefined;
    },
    look,
    stop: () => clearInterval(timer),
  };
}

function digest({ certificate, key }: TlsPair): string {
  return createHash('sha256').update(certificate).update('\0').update(key).digest('hex');
}
