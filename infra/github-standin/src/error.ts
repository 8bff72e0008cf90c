/** The one error of the stand-in: somebody who sets it up asked for what is not there. */
export type StandinErrorCode = 'not-found' | 'taken' | 'configuration';

export class StandinError extends Error {
  readonly code: StandinErrorCode;

  constructor(code: StandinErrorCode, message: string) {
    super(message);
    this.name = 'StandinError';
    this.code = code;
  }
}
