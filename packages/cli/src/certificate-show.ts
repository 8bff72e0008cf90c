/**
 * `beacon certificate show FILE…`: what a certificate says. Malformed or wrongly signed ones are refused; one that is well
 * formed but would never be issued or accepted by us is shown with every reason. Trust and time are not judged.
 */
import { TextDecoder } from 'node:util';
import { type Certificate, FOREVER, parseCertificateLine } from '@beacon/ssh/certificate';
import { certificateDefects } from '@beacon/ssh/certificate-defects';
import { SshError } from '@beacon/ssh/error';
import type { CertificateOption } from '@beacon/ssh/options';
import { fingerprint } from '@beacon/ssh/public-key';
import type { Context } from './context.ts';
import { showFiles } from './file-verdict.ts';
import { formatTime } from './terminal.ts';

const MAX_BYTES = 1024 * 1024;
const LAST_SECOND = 8_640_000_000_000n;

export function showCertificates(
  context: Context,
  files: readonly string[],
  options: { readonly json: boolean },
): Promise<number> {
  return showFiles(context, files, { read: readCertificate, maxBytes: MAX_BYTES }, options);
}

function readCertificate(bytes: Buffer): { json: object; line: string } {
  const certificate = parseCertificateLine(textOf(bytes));
  const defects = certificateDefects(certificate);
  return { json: certificateJson(certificate, defects), line: certificateLine(certificate, defects) };
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SshError('key-line-malformed', 'this is no text, and a certificate file is one line of text');
  }
}

type Defects = ReturnType<typeof certificateDefects>;

function certificateJson(certificate: Certificate, defects: Defects): object {
  return {
    type: certificate.type,
    kind: certificate.kind,
    serial: certificate.serial,
    key_id: certificate.keyId,
    principals: certificate.principals,
    valid_after: certificate.validAfter,
    valid_before: certificate.validBefore,
    valid_after_time: timeJson(certificate.validAfter),
    valid_before_time: timeJson(certificate.validBefore),
    public_key: { type: certificate.publicKey.type, fingerprint: fingerprint(certificate.publicKey) },
    authority: { type: certificate.ca.type, fingerprint: fingerprint(certificate.ca) },
    signature_algorithm: certificate.signatureAlgorithm,
    critical_options: optionsJson(certificate.criticalOptions),
    extensions: optionsJson(certificate.extensions),
    nonce: certificate.nonce.toString('base64'),
    defects,
  };
}

function optionsJson(options: readonly CertificateOption[]): object {
  return Object.fromEntries(options.map((option) => [option.name, optionJson(option)]));
}

/** A flag is true, a text itself, and what is not known its bytes. */
function optionJson(option: CertificateOption): true | string | { base64: string } {
  switch (option.form) {
    case 'flag':
      return true;
    case 'text':
      return option.text;
    case 'unknown':
      return { base64: option.data.toString('base64') };
  }
}

function timeJson(seconds: bigint): string | null {
  if (seconds === FOREVER) return 'forever';
  return seconds > LAST_SECOND ? null : new Date(Number(seconds) * 1000).toISOString();
}

function certificateLine(certificate: Certificate, defects: Defects): string {
  const { kind, serial, keyId, principals, validAfter, validBefore, ca } = certificate;
  const options = [...certificate.criticalOptions, ...certificate.extensions].map(({ name }) => name);
  return [
    `${kind} certificate ${serial} for ${principals.map((name) => JSON.stringify(name)).join(', ') || 'nobody'}`,
    `key id ${JSON.stringify(keyId)}`,
    `key ${fingerprint(certificate.publicKey)} (${certificate.publicKey.type})`,
    `valid from ${timeText(validAfter)} until ${timeText(validBefore)}`,
    `options ${options.join(' ') || 'none'}`,
    `signed by ${fingerprint(ca)} (${certificate.signatureAlgorithm})`,
    ...defects.map(({ code, reason }) => `WOULD BE REFUSED (${code}): ${reason}`),
  ].join('; ');
}

function timeText(seconds: bigint): string {
  if (seconds === FOREVER) return 'for ever';
  return seconds > LAST_SECOND ? `${seconds} s` : formatTime(new Date(Number(seconds) * 1000));
}
