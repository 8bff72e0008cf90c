/**
 * Fills a CA's store with records of certificates as if it had served for a year: a valid chain made by the records'
 * own code, with the rows of the certificates and their keys, in large transactions instead of one commit for each group.
 */
import { randomBytes } from 'node:crypto';
import { createId } from '@beacon/protocol/id';
import { formatRecord, hashRecord } from '@beacon/protocol/record';
import { createRecords, openDatabase } from '@beacon/server';
import type { Tables } from '../../../packages/ca/src/ca.ts';
import { readCounter, setCounter, storedSerial } from '../../../packages/ca/src/store.ts';
import { hosts } from './served-ca.ts';

const BATCH = 20_000;
/** Of rows in one statement: SQLite takes 32,766 values. */
const ROWS = 1_000;
const YEAR_MS = 365 * 86_400_000;
const PEOPLE = 400;

/** Appends `count` records to the store of a CA that is stopped, whose chain has begun. */
export async function fillStore(file: string, count: number, say: (done: number) => void): Promise<void> {
  const store = openDatabase<Tables>({ file });
  const records = createRecords({ chain: 'ca', now: () => new Date() });
  try {
    const head = await records.head(store);
    if (head === undefined) throw new Error('the chain has not begun');
    let { hash: prev, seq } = head;
    let serial = await readCounter(store, 'serial');
    const end = Date.now();
    for (let done = 0; done < count; ) {
      const size = Math.min(BATCH, count - done);
      const made = Array.from({ length: size }, (_, index) => {
        // Already expired, and by times that rise up to those of now.
        const time = new Date(end - 7_200_000 - Math.floor(YEAR_MS * (1 - (done + index + 1) / count)));
        seq += 1;
        serial += 1n;
        const row = makeRow(seq, serial, time, prev);
        prev = row.record.hash;
        return row;
      });
      await store.transaction().execute(async (tx) => {
        for (let from = 0; from < size; from += ROWS) {
          const some = made.slice(from, from + ROWS);
          await tx
            .insertInto('records')
            .values(some.map(({ record }) => record))
            .execute();
          await tx
            .insertInto('certificates')
            .values(some.map(({ certificate }) => certificate))
            .execute();
          await tx
            .insertInto('subject_keys')
            .values(some.map(({ key }) => key))
            .execute();
        }
        await setCounter(tx, 'serial', serial);
      });
      done += size;
      say(done);
    }
  } finally {
    await store.destroy();
  }
}

function makeRow(seq: number, serial: bigint, time: Date, prev: string) {
  const person = `github:${10_000 + (seq % PEOPLE)}`;
  const host = hosts[seq % hosts.length] ?? '';
  const grant = createId(time.getTime());
  const publicKey = `SHA256:${randomBytes(32).toString('base64').replace(/=$/, '')}`;
  const authority = 'SHA256:0000000000000000000000000000000000000000000';
  const kind = 'certificate';
  const service = 'beacon-cli';
  const validAfter = time.getTime() - 60_000;
  const validBefore = time.getTime() + 900_000;
  const fields = {
    chain: 'ca',
    seq,
    time,
    kind,
    person,
    service,
    host,
    grant,
    facts: {
      serial: serial.toString(),
      login: 'beacon',
      session: randomBytes(32).toString('base64url'),
      public_key: publicKey,
      authority,
      valid_after: new Date(validAfter).toISOString(),
      valid_before: new Date(validBefore).toISOString(),
      extensions: [],
      policies: ['team-0-runs'],
      policy_version: '0'.repeat(64),
      source: randomBytes(32).toString('base64url'),
      commands: [
        {
          command: 'runner.install',
          digest: randomBytes(32).toString('base64url'),
          params: { name: `runner-${seq}`, version: '2.330.0' },
        },
      ],
    },
  };
  const line = formatRecord(fields, prev);
  const hash = hashRecord(line);
  return {
    record: { chain: 'ca', seq, time: time.getTime(), kind, person, service, host, grant, line, hash },
    certificate: {
      serial: storedSerial(serial),
      kind: 'user' as const,
      grant_id: grant,
      person,
      service,
      session: grant,
      host,
      login: 'beacon',
      commands: '["runner.install"]',
      public_key: publicKey,
      authority,
      valid_after: validAfter,
      valid_before: validBefore,
      revoked_at: null,
      halted: 0,
      record_seq: seq,
      record_hash: hash,
    },
    key: { fingerprint: publicKey, owner: person, revoked_at: null },
  };
}
