/**
 * What is wrong with a certificate that is well formed and truly signed: the list of reasons for which Beacon would
 * neither issue nor accept it, whoever asks and whenever. The rules are those of the certificate profile (section 4
 * of the design); the encoder in `sign-certificate.ts` keeps the same ones through the functions exported here.
 * Trust, time, revocation and purpose are no defects: they are in `verify-certificate.ts`.
 */
import { type Certificate, FOREVER } from './certificate.ts';
import { type CertificateOption, optionText } from './options.ts';
import { type PublicKey, rsaBits } from './public-key.ts';
import { isSourceAddressList } from './source-address.ts';

export type DefectCode =
  | 'no-principals'
  | 'several-principals'
  | 'principal-form'
  | 'key-id-empty'
  | 'key-id-form'
  | 'serial-zero'
  | 'small-rsa'
  | 'small-rsa-authority'
  | 'sha1-signature'
  | 'own-authority'
  | 'validity-empty'
  | 'forever'
  | 'foreign-critical-option'
  | 'foreign-extension'
  | 'source-address-form'
  | 'host-options'
  | 'reserved-not-empty'
  | 'nonce-short';

export interface CertificateDefect {
  readonly code: DefectCode;
  /** For a person; quotes the certificate in JSON form, so that no control character reaches a terminal. */
  readonly reason: string;
}

/** The smallest RSA key that is certified or certifies. */
export const MIN_RSA_BITS = 3072;

/** The fewest bytes of a nonce; OpenSSH writes 32. */
const MIN_NONCE_BYTES = 16;

/** sshd logs the key id for ever and expands it unsanitised in some directives: no other characters, no great length. */
const KEY_ID = /^[A-Za-z0-9:/._-]{1,255}$/;

/**
 * No comma (the list separator of `principals=`), no space, no control and none of `*?!`: ssh takes the principal of
 * a host certificate for a pattern.
 */
const PRINCIPAL = /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,254}$/;

export function isKeyId(text: string): boolean {
  return KEY_ID.test(text);
}

export function isPrincipal(text: string): boolean {
  return PRINCIPAL.test(text);
}

export function isSmallRsa(key: PublicKey): boolean {
  return (rsaBits(key) ?? MIN_RSA_BITS) < MIN_RSA_BITS;
}

/** Every reason against the certificate itself, in a fixed order; empty for one that Beacon could have issued. */
export function certificateDefects(certificate: Certificate): readonly CertificateDefect[] {
  const defects: CertificateDefect[] = [];
  const add = (found: boolean, code: DefectCode, reason: string): void => {
    if (found) defects.push({ code, reason });
  };
  const { principals, keyId, ca, publicKey, validAfter, validBefore, criticalOptions, extensions } =
    certificate;

  add(
    principals.length === 0,
    'no-principals',
    'it names no principal; older sshd let such a one in as anybody',
  );
  add(principals.length > 1, 'several-principals', `it names ${principals.length} principals instead of one`);
  for (const principal of principals.filter((name) => !isPrincipal(name))) {
    add(
      true,
      'principal-form',
      `the principal ${quote(principal)} is no name of the form login@host or host`,
    );
  }
  add(
    keyId === '',
    'key-id-empty',
    'its key id is empty, so that a log could not say what it was issued for',
  );
  add(
    keyId !== '' && !isKeyId(keyId),
    'key-id-form',
    `its key id ${quote(keyId)} is too long or has other characters than A-Za-z0-9:/._-`,
  );
  add(certificate.serial === 0n, 'serial-zero', 'its serial is 0, which cannot be revoked');
  add(isSmallRsa(publicKey), 'small-rsa', `its RSA key has fewer than ${MIN_RSA_BITS} bits`);
  add(
    isSmallRsa(ca),
    'small-rsa-authority',
    `the RSA key that signed it has fewer than ${MIN_RSA_BITS} bits`,
  );
  add(certificate.signatureAlgorithm === 'ssh-rsa', 'sha1-signature', 'it is signed with SHA-1');
  add(ca.blob.equals(publicKey.blob), 'own-authority', 'it certifies the key that signed it');
  add(validAfter >= validBefore, 'validity-empty', 'it ends before it begins and is never valid');
  add(validBefore === FOREVER, 'forever', 'it never expires');
  for (const { name } of foreign(criticalOptions)) {
    add(true, 'foreign-critical-option', `the critical option ${quote(name)} is not known here`);
  }
  for (const { name } of foreign(extensions)) {
    add(true, 'foreign-extension', `the extension ${quote(name)} is not known here`);
  }
  const addresses = optionText(criticalOptions, 'source-address');
  add(
    addresses !== undefined && !isSourceAddressList(addresses),
    'source-address-form',
    'its source-address is no list of CIDR addresses',
  );
  add(
    certificate.kind === 'host' && criticalOptions.length + extensions.length > 0,
    'host-options',
    'it is for a host and has options, which mean nothing there',
  );
  add(certificate.reserved.length > 0, 'reserved-not-empty', 'its reserved field is not empty');
  add(
    certificate.nonce.length < MIN_NONCE_BYTES,
    'nonce-short',
    `its nonce has fewer than ${MIN_NONCE_BYTES} bytes`,
  );
  return defects;
}

function foreign(options: readonly CertificateOption[]): readonly CertificateOption[] {
  return options.filter(({ form }) => form === 'unknown');
}

/** At most 64 characters of certificate's text, in ASCII, for a message. */
function quote(text: string): string {
  const short = text.length > 64 ? `${text.slice(0, 64)}…` : text;
  return JSON.stringify(short).replace(
    /[\u007f-\u2025\u2027-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
