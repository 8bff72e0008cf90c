/** What every part of the CA works with, assembled once by `create-ca.ts`. No part reaches the outside by another way. */
import type { PersonFacts, PolicyEngine } from '@beacon/policy';
import type {
  Database,
  GroupCommit,
  ProofTables,
  Readable as ReadableStore,
  Records,
  RecordTables,
  Transaction,
} from '@beacon/server';
import type { HostCa, UserCa } from '@beacon/ssh/sign-certificate';
import type { Caller } from './access-token.ts';
import type { CaKey } from './ca-key.ts';
import type { CaKeyTables } from './ca-key-store.ts';
import type { EnrolmentTables } from './enrolment-store.ts';
import type { OauthTables } from './oauth-store.ts';
import type { ReportedHeadTables } from './reported-heads-store.ts';
import type { CaTables } from './rows.ts';
import type { Service } from './services-configuration.ts';
import type { Sessions } from './session.ts';
import type { SessionTables } from './session-store.ts';
import type { SignInTables } from './sign-in-store.ts';
import type { TrustKeys } from './trust-root.ts';
import type { TrustTables } from './trust-store.ts';

export type Tables = CaTables &
  SessionTables &
  OauthTables &
  ProofTables &
  SignInTables &
  TrustTables &
  CaKeyTables &
  EnrolmentTables &
  ReportedHeadTables &
  RecordTables;
export type Store = Database<Tables>;
export type Readable = ReadableStore<Tables>;
export type Tx = Transaction<Tables>;

export interface Ca {
  readonly now: () => Date;
  readonly store: Store;
  readonly commit: GroupCommit<Tables>;
  readonly records: Records;
  readonly userCa: CaKey<UserCa>;
  readonly hostCa: CaKey<HostCa>;
  /** Absent while the operator has named no keys for trust documents. */
  readonly trust: TrustKeys | undefined;
  /** Replaced by a reload, as are the services: whoever decides looks once, or works with `pinRules`. */
  readonly policy: PolicyEngine;
  readonly services: ReadonlyMap<string, Service>;
  readonly sessions: Sessions;
  /** Throws CaError `clock-went-back` while nothing may be signed. */
  readonly requireClock: () => void;
  /** What GitHub says of the caller's memberships, among those that this policy names, at most a minute old. */
  readonly memberships: (caller: Caller, policy: PolicyEngine) => Promise<Memberships>;
  /** What is known of another person's memberships: from a session of theirs, else nothing. */
  readonly membershipsOf: (person: string, policy: PolicyEngine) => Promise<Memberships | undefined>;
}

/** Memberships among those that policies name: known to be in, or unknown; the others are known to be out. */
export interface Memberships extends Pick<PersonFacts, 'organizations' | 'teams'> {
  readonly readAt: Date;
}
