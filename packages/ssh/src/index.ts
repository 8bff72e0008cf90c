/** What this package offers. The gate imports the subpaths instead, so that it reaches no third-party code. */
export {
  type AgentClientOptions,
  type AgentSigner,
  createAgentSigner,
  listIdentities,
  signWithAgent,
} from './agent-client.ts';
export type { ListedIdentity } from './agent-message.ts';
export { type Agent, type AgentIdentity, type OpenAgentOptions, openAgent } from './agent-server.ts';
export {
  type Certificate,
  type CertificateKind,
  certificateType,
  decodeCertificate,
  FOREVER,
  formatCertificateLine,
  parseCertificateLine,
} from './certificate.ts';
export { type CertificateDefect, certificateDefects, type DefectCode } from './certificate-defects.ts';
export { SshError, type SshErrorCode } from './error.ts';
export { isRevoked, type RevocableCertificate } from './is-revoked.ts';
export {
  type FormatPrivateKeyOptions,
  formatPrivateKey,
  type GeneratedKeyType,
  generateKey,
  type KeyPair,
  type OpenedPrivateKey,
  openPrivateKey,
} from './key.ts';
export { formatKnownHost, type KnownHost, parseKnownHost } from './known-hosts.ts';
export { decodeKrl, encodeKrl, type Krl, type KrlContent, MAX_KRL_BYTES } from './krl.ts';
export type { CertificatesToRevoke, RevokedCertificates } from './krl-certificates.ts';
export type { SerialRange } from './krl-serials.ts';
export {
  type CertificateOption,
  type CriticalOptions,
  type Extensions,
  hasFlag,
  MAX_GRANT_BYTES,
  optionText,
} from './options.ts';
export { formatPrincipalsLine, type PrincipalsLine, parsePrincipalsLine } from './principals.ts';
export {
  decodePublicKey,
  fingerprint,
  formatPublicKeyLine,
  isSameKey,
  keyObject,
  type PublicKey,
  type PublicKeyType,
  parsePublicKeyLine,
  publicKeyFromKeyObject,
  rsaBits,
} from './public-key.ts';
export {
  type Authority,
  type CertificateFields,
  createHostCa,
  createUserCa,
  type HostCa,
  signHostCertificate,
  signUserCertificate,
  type UserCa,
  type UserCertificateFields,
} from './sign-certificate.ts';
export {
  createSigner,
  type RsaAlgorithm,
  type Signer,
  verifySignature,
  verifySignatureAside,
} from './signature.ts';
export {
  formatMessageSignature,
  parseMessageSignature,
  type SignedMessage,
  signMessage,
  verifyMessage,
  verifyMessageAside,
} from './sshsig.ts';
export { type VerifyCertificateOptions, verifyCertificate } from './verify-certificate.ts';
export { Reader, Writer } from './wire.ts';
