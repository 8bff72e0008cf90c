/**
 * The one error class of this package. Every parser here is total: input that is not exactly what the format allows
 * ends in a ProtocolError whose code says which rule refused it, and whose message names the place.
 */
export type ProtocolErrorCode =
  | 'json-syntax'
  | 'json-doubled-key'
  | 'json-number'
  | 'json-surrogate'
  | 'json-depth'
  | 'name-malformed'
  | 'id-malformed'
  | 'params-malformed'
  | 'digest-input'
  | 'grant-malformed'
  | 'grant-too-long'
  | 'record-malformed'
  | 'checkpoint-malformed'
  | 'command-malformed'
  | 'problem-malformed'
  | 'pattern-malformed'
  | 'allowlist-malformed'
  | 'host-identity-malformed'
  | 'host-token-malformed'
  | 'trust-root-malformed'
  | 'trust-status-malformed'
  | 'gate-line-malformed';

export class ProtocolError extends Error {
  readonly code: ProtocolErrorCode;

  constructor(code: ProtocolErrorCode, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.code = code;
  }
}
