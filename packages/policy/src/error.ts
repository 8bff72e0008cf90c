/**
 * The one error of this package: a policy, inventory or case file that is refused, with the place to look at.
 * A denied request is no error: it is a value (`Denied` in `request.ts`).
 */

/** Every way in which what a reviewer wrote can be refused; the list is closed. */
export type PolicyErrorCode =
  | 'annotation'
  | 'case'
  | 'closed'
  | 'doubled-file'
  | 'doubled-id'
  | 'id'
  | 'inventory'
  | 'membership-in-forbid'
  | 'membership-negated'
  | 'parse'
  | 'pattern'
  | 'schema'
  | 'template'
  | 'too-large'
  | 'unknown-action';

/** Where: a file, and inside it a line and column counted from 1, or the path of a key. */
export interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly key?: string;
}

/** The place as people write it: `team.cedar:3:7`, `cases.yaml: [2].person`. */
export function formatPlace(place: Place): string {
  if (place.key !== undefined) return place.key === '' ? place.file : `${place.file}: ${place.key}`;
  if (place.line === undefined) return place.file;
  return place.column === undefined
    ? `${place.file}:${place.line}`
    : `${place.file}:${place.line}:${place.column}`;
}

/** Refusal of a policy, inventory or case; `message` begins with the place and ends with what to do. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly code: PolicyErrorCode;
  readonly place: Place;

  constructor(code: PolicyErrorCode, place: Place, text: string) {
    super(`${formatPlace(place)}: ${text}`);
    this.code = code;
    this.place = place;
  }
}
