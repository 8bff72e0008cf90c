/**
 * The rows of the CA's own tables: hosts, certificates, revocations, the owners of subject keys, disabled persons, and the
 * counter of serials. Serials are text of 20 digits, so that their order as text is their order as numbers and no reader
 * rounds them; times are milliseconds.
 */

export interface HostRow {
  id: string;
  /** JSON of {@link HostContent}. */
  content: string;
  state: 'enabled' | 'disabled';
  record_seq: number;
  record_hash: string;
}

export interface CertificateRow {
  serial: string;
  kind: 'user' | 'host';
  grant_id: string | null;
  person: string | null;
  service: string | null;
  session: string | null;
  host: string;
  login: string | null;
  /** JSON array of command names. */
  commands: string;
  public_key: string;
  authority: string;
  valid_after: number;
  valid_before: number;
  revoked_at: number | null;
  halted: number;
  record_seq: number;
  record_hash: string;
}

export interface SubjectKeyRow {
  fingerprint: string;
  /** A person, `host/<id>` or `ca`. */
  owner: string;
  revoked_at: number | null;
}

export interface AuthorityRevocationRow {
  fingerprint: string;
  public_key: string;
  revoked_at: number;
}

export interface DisabledPersonRow {
  person: string;
  by_person: string;
  reason: string;
  since: number;
  record_seq: number;
  record_hash: string;
}

export interface CounterRow {
  name: string;
  value: string;
}

export interface CaTables {
  hosts: HostRow;
  certificates: CertificateRow;
  subject_keys: SubjectKeyRow;
  authority_revocations: AuthorityRevocationRow;
  disabled_persons: DisabledPersonRow;
  counters: CounterRow;
}
