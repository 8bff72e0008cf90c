/** What is wrong with a machine or worth knowing of it, and what to do about it: what `init` refuses and `check` prints. */

/** The remedy for most of what was changed by hand. */
export const INIT_AGAIN = 'run beacon host init again';
/** The bits of a mode that let others than the owner write. */
export const WRITABLE_BY_OTHERS = 0o022;

export interface Finding {
  readonly kind: 'defect' | 'note';
  /** Stable, for programs. */
  readonly code: string;
  /** The file, account or setting. */
  readonly place: string;
  readonly what: string;
  readonly remedy: string;
}

export function defect(code: string, place: string, what: string, remedy: string): Finding {
  return { kind: 'defect', code, place, what, remedy };
}

export function note(code: string, place: string, what: string, remedy: string): Finding {
  return { kind: 'note', code, place, what, remedy };
}
