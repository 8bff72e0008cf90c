/** The CA's words of access: `read` uses the proof up at once, `write` leaves that to the transaction of the work. */
import { routeDefiner } from '@beacon/server';
import type { Caller } from './access-token.ts';

export type Access = 'read' | 'write';

export const defineRoute = routeDefiner<Caller, Access>();
