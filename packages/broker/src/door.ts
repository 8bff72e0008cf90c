/** The two ways into the same interface: a program's, with a token, and the portal's, with a cookie. */
import type { Access } from './define-route.ts';

export interface Door {
  readonly prefix: '/v1' | '/api';
  /** Who may look. */
  readonly read: Access;
  /** Who may change. */
  readonly change: Access;
}

export const programDoor: Door = { prefix: '/v1', read: 'api', change: 'api' };
export const portalDoor: Door = { prefix: '/api', read: 'portal', change: 'portal-change' };
