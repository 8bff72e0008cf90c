/**
 * `beacon host sync` (DESIGN.md section 6): what a managed host does every minute. Trust documents come first, and nothing
 * that follows holds them up or takes them back: sessions of revoked certificates are ended, the host certificate is
 * renewed in its time, and the CA is told when there is something to tell. What does not work is said, tried again, and
 * named by `check`.
 */
import type { Outside } from '@beacon/client';
import type { Asker } from './ask-ca.ts';
import { askerOf } from './enrolment.ts';
import { HostError } from './error.ts';
import { readHostCertificate } from './host-certificate.ts';
import { openHostKey } from './host-key.ts';
import { requireRoot } from './init.ts';
import { type Trouble, troubleOf, writeLastSync } from './last-sync.ts';
import type { Machine } from './machine.ts';
import { readNote } from './note.ts';
import { renewCertificate, shouldRenew, showCertificate } from './renew-certificate.ts';
import { isReportDue, lookForReport, reportHost } from './report.ts';
import { endRevokedSessions } from './revoked-sessions.ts';
import { readSyncState, type SyncState, writeSyncState } from './sync-state.ts';
import { type SyncedTrust, syncTrust } from './sync-trust.ts';
import type { VerifiedTrust } from './trust-documents.ts';
import type { Note } from './wish.ts';

export interface Synced extends Pick<SyncedTrust, 'version' | 'changed'> {
  readonly isRenewed: boolean;
  readonly isReported: boolean;
  /** The key ids of revoked certificates whose sessions were ended. */
  readonly ended: readonly string[];
  /** What did not work beside the trust documents. */
  readonly troubles: readonly Trouble[];
}

/**
 * One sync of the host that this machine is. Throws HostError `not-a-host`, and for trust documents like `syncTrust`; then
 * those that were there are in force.
 */
export async function syncHost(machine: Machine, outside: Outside): Promise<Synced> {
  requireRoot();
  const note = readNote(machine);
  if (note === undefined) {
    throw new HostError('not-a-host', 'this machine is no managed host: make it one with beacon host init');
  }
  const troubles: Trouble[] = [];
  try {
    const { trust, version, changed } = await syncTrust(machine, note, { outside });
    const rest = new Rest(machine, outside, note, trust, troubles);
    await rest.sessions();
    await rest.certificate();
    await rest.report();
    return { version, changed, ...rest.done, troubles };
  } catch (error) {
    troubles.push(troubleOf('trust', error));
    throw error;
  } finally {
    writeLastSync(machine, { at: outside.now(), troubles });
  }
}

/** All but trust, for a host that was enrolled: the CA knows its key. */
class Rest {
  readonly done: { isRenewed: boolean; isReported: boolean; ended: readonly string[] } = {
    isRenewed: false,
    isReported: false,
    ended: [],
  };
  readonly #machine: Machine;
  readonly #outside: Outside;
  readonly #note: Note;
  readonly #trust: VerifiedTrust;
  readonly #troubles: Trouble[];
  readonly #isEnrolled: boolean;
  #state: SyncState;
  #asker: Asker | undefined;

  constructor(machine: Machine, outside: Outside, note: Note, trust: VerifiedTrust, troubles: Trouble[]) {
    this.#machine = machine;
    this.#outside = outside;
    this.#note = note;
    this.#trust = trust;
    this.#troubles = troubles;
    this.#isEnrolled = readHostCertificate(machine) !== undefined;
    this.#state = readSyncState(machine);
  }

  async sessions(): Promise<void> {
    await this.#try('sessions', () => {
      this.done.ended = endRevokedSessions(this.#machine, this.#trust);
      return Promise.resolve();
    });
  }

  async certificate(isWanted = false): Promise<void> {
    const line = readHostCertificate(this.#machine);
    if (line === undefined) return;
    await this.#try('certificate', async () => {
      const now = this.#outside.now();
      if (isWanted || shouldRenew(line, this.#note.host, this.#trust, this.#state, now)) {
        this.#keep({ renewalAt: now });
        // Noted first: after a kill sshd is told all the same, and not when the old certificate is over.
        const note = (): void => this.#keep({ reloadDue: true });
        await renewCertificate(this.#machine, await this.#ask(), this.#trust, note);
        this.done.isRenewed = true;
      }
      if (this.#state.reloadDue === true) {
        showCertificate(this.#machine);
        this.#keep({ reloadDue: false });
        this.#reportSoon();
      }
    });
  }

  async report(): Promise<void> {
    if (!this.#isEnrolled) return;
    let isRenewalWanted = false;
    await this.#try('report', async () => {
      const tellable = lookForReport(this.#machine, this.#trust);
      const last = this.#state.reported;
      if (!isReportDue(tellable, last, this.#outside.now())) {
        if (last?.isHeadRefused === true) throw headRefused();
        return;
      }
      const { reported, taken } = await reportHost(this.#machine, await this.#ask(), tellable, last);
      this.#keep({ reported });
      if (reported.isHeadRefused) throw headRefused();
      this.done.isReported = true;
      isRenewalWanted = taken?.renew === true && !this.done.isRenewed;
    });
    if (isRenewalWanted) await this.certificate(true);
  }

  /** A CA key that goes is waited with until each host has told that it shows a certificate of another. */
  #reportSoon(): void {
    const { reported } = this.#state;
    if (reported !== undefined) this.#keep({ reported: { ...reported, at: new Date(0) } });
  }

  async #ask(): Promise<Asker> {
    this.#asker ??= askerOf(this.#note, this.#outside, await openHostKey(this.#machine));
    return this.#asker;
  }

  #keep(change: Partial<SyncState>): void {
    this.#state = { ...this.#state, ...change };
    writeSyncState(this.#machine, this.#state);
  }

  async #try(part: Trouble['part'], work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#troubles.push(troubleOf(part, error));
    }
  }
}

function headRefused(): HostError {
  return new HostError(
    'head-refused',
    'the CA holds a head that the records of this host do not extend: they were cut or rewritten, or the machine was put back to an older state. Look at it as at one that was broken into; then enrol it again with a token made with --replace',
  );
}
