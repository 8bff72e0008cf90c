/** The records of sessions: each beginning and end, in the commit that makes it so. The login name stands there hidden. */
import type { Records, RecordTables, Transaction } from '@beacon/server';
import type { Session, SessionHooks } from './session.ts';

export function recordSessions(records: Pick<Records, 'append' | 'hide'>): SessionHooks {
  return {
    onSessionBegan: async (tx: Transaction<RecordTables>, session: Session) => {
      await records.append(tx, {
        kind: 'session-began',
        person: session.person,
        service: session.client,
        facts: {
          session: session.id,
          login: await records.hide(tx, session.loginName, session.person),
          ends: session.endsAt.toISOString(),
        },
      });
    },
    onSessionEnded: async (tx: Transaction<RecordTables>, session: Session, by: string) => {
      await records.append(tx, {
        kind: 'session-ended',
        person: session.person,
        service: session.client,
        facts: { session: session.id, by },
      });
    },
  };
}
