/**
 * The one error class of this package and the closed list of its codes. A code says which check failed; the message
 * says it to a person and carries no secret. Nothing in this package throws anything else for input it was given.
 */

/** Which check failed. Codes are stable: callers and tests compare them, never messages. */
export type SshErrorCode =
  // RFC 4251 §5 values
  | 'wire-truncated'
  | 'wire-trailing'
  | 'wire-too-long'
  | 'wire-malformed'
  | 'wire-unencodable'
  // public keys and their lines
  | 'key-line-malformed'
  | 'key-malformed'
  | 'key-type-unsupported'
  | 'key-too-small'
  // private key files
  | 'private-key-malformed'
  | 'private-key-unsupported'
  | 'private-key-passphrase-missing'
  | 'private-key-passphrase-wrong'
  // signatures
  | 'signature-malformed'
  | 'signature-algorithm'
  | 'signature-sha1'
  | 'signature-wrong'
  | 'signature-no-presence'
  // options of certificates
  | 'options-unsorted'
  | 'option-duplicate'
  | 'option-malformed'
  | 'option-unknown'
  | 'option-wrong-kind'
  | 'option-too-long'
  // certificates, while decoding
  | 'certificate-type-unsupported'
  | 'certificate-kind'
  | 'certificate-principals'
  | 'certificate-ca-is-certificate'
  // certificates, while verifying for a purpose
  | 'certificate-not-decoded'
  | 'certificate-wrong-kind'
  | 'certificate-unknown-authority'
  | 'certificate-revoked'
  | 'certificate-not-yet-valid'
  | 'certificate-expired'
  | 'certificate-wrong-principal'
  | 'certificate-source-address'
  | 'certificate-defect'
  // certificates, while signing
  | 'sign-principals'
  | 'sign-serial'
  | 'sign-validity'
  | 'sign-key-id'
  | 'sign-key'
  | 'sign-nonce'
  | 'sign-options'
  | 'sign-too-long'
  // PROTOCOL.sshsig
  | 'sshsig-malformed'
  | 'sshsig-namespace'
  | 'sshsig-hash'
  // PROTOCOL.krl
  | 'krl-malformed'
  | 'krl-unsupported'
  | 'krl-unencodable'
  // known_hosts and principals files
  | 'known-hosts-malformed'
  | 'principals-malformed'
  // the agent's protocol
  | 'agent-malformed'
  | 'agent-refused'
  | 'agent-unavailable';

/** What this package throws, and nothing else. */
export class SshError extends Error {
  override readonly name = 'SshError';
  readonly code: SshErrorCode;

  constructor(code: SshErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
