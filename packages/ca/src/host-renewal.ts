/**
 * `POST /v1/host-renewals` and `POST /v1/host-self-tests`: what a host gets by its own key alone (DESIGN.md section 6). A
 * host certificate again, for the same key, while the one before is neither revoked nor over; and in the hour after its
 * enrolment a certificate to test its own gate with: for the person who made the token, one login of this host, no
 * commands, 60 seconds. Nothing else can be had this way.
 */
import { createHash, randomBytes } from 'node:crypto';
import { formatGrant } from '@beacon/protocol/grant';
import {
  HOST_SIGNATURE_HEADER,
  KEY_PROOF_HEADER,
  RENEWAL_NAMESPACE,
  SELF_TEST_NAMESPACE,
} from '@beacon/protocol/host-request';
import type { RenewalRequest, SelfTestRequest } from '@beacon/protocol/http/enrolment';
import { createId } from '@beacon/protocol/id';
import { formatPrincipal } from '@beacon/protocol/name';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import { fingerprint, type PublicKey } from '@beacon/ssh/public-key';
import { signUserCertificate } from '@beacon/ssh/sign-certificate';
import type { Ca, Tx } from './ca.ts';
import { requireReady } from './ca-key.ts';
import { CaError } from './error.ts';
import { hostCertificateLife, type IssuedHostCertificate, signHost } from './host-certificate.ts';
import { countHostCertificates } from './host-certificate-store.ts';
import {
  readSigner,
  requireFresh,
  requireHost,
  requireSignedBy,
  type SignedRequest,
  useNonce,
} from './host-request.ts';
import { certifyHost } from './hosts.ts';
import { isDisabled } from './persons.ts';
import { KEY_PROOF_NAMESPACE, readSubjectKey } from './request.ts';
import { insertCertificate, nextSerial, readHost, storedSerial } from './store.ts';
import { requireKeyOf } from './subject-key.ts';

/** What the records call the asker of a self-test. */
export const ENROLMENT_SERVICE = 'host-enrolment';
const SELF_TEST_FOR_MS = 3_600_000;
const SELF_TEST_SECONDS = 60;
const BACKDATE_SECONDS = 60;
const DAY_MS = 86_400_000;
/** Certificates that a host may have by its own key in a day, of each kind. */
const MOST_A_DAY = 20;

/** Throws CaError `host-signature-invalid`, `host-request-…`, `host-certificate-ended`, `host-limit`. */
export async function renewHost(
  ca: Ca,
  body: RenewalRequest,
  signed: SignedRequest,
): Promise<IssuedHostCertificate> {
  requireFresh(ca, body.at);
  const signer = await readSigner(signed, HOST_SIGNATURE_HEADER, RENEWAL_NAMESPACE);
  ca.requireClock();
  await requireReady(ca, ca.hostCa);
  const life = hostCertificateLife(ca.now());
  const written = await ca.commit.write(async (tx) => {
    const { id, key } = await requireHost(ca, body.host, signer, tx);
    await useNonce(ca, tx, id, body.nonce);
    await requireCurrent(ca, tx, key);
    requireFew(await countHostCertificates(tx, id, dayBefore(ca)));
    const row = await readHost(tx, id);
    if (row === undefined) throw new TypeError(`the host ${id} was there a moment ago`);
    return certifyHost(
      ca,
      tx,
      { id, content: row.content, key, life },
      { kind: 'host-certificate', facts: { by: 'host' } },
    );
  });
  return signHost(written);
}

/** Throws CaError `host-certificate-ended` unless the host's newest certificate is neither revoked by itself nor over. */
export async function requireCurrent(ca: Ca, tx: Tx, key: PublicKey): Promise<void> {
  const newest = await tx
    .selectFrom('certificates')
    .leftJoin('authority_revocations', 'authority_revocations.fingerprint', 'certificates.authority')
    .select(['certificates.revoked_at', 'valid_before', 'authority_revocations.revoked_at as with_its_ca'])
    .where('certificates.public_key', '=', fingerprint(key))
    .where('kind', '=', 'host')
    .orderBy('serial', 'desc')
    .limit(1)
    .executeTakeFirst();
  const isGood =
    newest !== undefined &&
    // What went with its CA key alone was good: the host is who it was, and no certificate need vouch for it here.
    (newest.revoked_at === null || newest.revoked_at === newest.with_its_ca) &&
    newest.valid_before > ca.now().getTime();
  if (isGood) return;
  throw new CaError(
    'host-certificate-ended',
    "this host's certificate is over or revoked, so it cannot renew it: enrol it again with a token made with --replace",
  );
}

function dayBefore(ca: Ca): Date {
  return new Date(ca.now().getTime() - DAY_MS);
}

function requireFew(count: number): void {
  if (count < MOST_A_DAY) return;
  throw new CaError('host-limit', `a host gets ${MOST_A_DAY} certificates a day by its own key: wait`, {
    retryAfterMs: 3_600_000,
  });
}

async function countSelfTests(tx: Tx, host: string, since: Date): Promise<number> {
  const { count } = await tx
    .selectFrom('certificates')
    .select(({ fn }) => fn.countAll().as('count'))
    .where('service', '=', ENROLMENT_SERVICE)
    .where('host', '=', host)
    .where('valid_before', '>', since.getTime())
    .executeTakeFirstOrThrow();
  return Number(count);
}

/** A certificate that opens a gate for nothing, and where its record stands. */
export interface SelfTest {
  readonly certificate: string;
  readonly serial: bigint;
  readonly grant: string;
  readonly principal: string;
  readonly validBefore: Date;
  readonly record: { readonly seq: number; readonly hash: string };
}

/** Throws CaError like `renewHost`, and `self-test-over`, `key-proof-invalid`, `key-in-use`, `request-malformed`. */
export async function issueSelfTest(ca: Ca, body: SelfTestRequest, signed: SignedRequest): Promise<SelfTest> {
  requireFresh(ca, body.at);
  const signer = await readSigner(signed, HOST_SIGNATURE_HEADER, SELF_TEST_NAMESPACE);
  const publicKey = readSubjectKey(body.public_key);
  await requireSignedBy(publicKey, signed, KEY_PROOF_HEADER, KEY_PROOF_NAMESPACE);
  ca.requireClock();
  await requireReady(ca, ca.userCa);
  const now = ca.now();
  const nowSeconds = Math.floor(now.getTime() / 1000);
  const life = { from: nowSeconds - BACKDATE_SECONDS, until: nowSeconds + SELF_TEST_SECONDS };
  const grant = createId(now.getTime());
  const principal = formatPrincipal(body.login, body.host);
  const written = await ca.commit.write(async (tx) => {
    const host = await requireHost(ca, body.host, signer, tx);
    await useNonce(ca, tx, host.id, body.nonce);
    const { enrolled } = host;
    if (enrolled === undefined || now.getTime() - Date.parse(enrolled.at) > SELF_TEST_FOR_MS) throw over();
    if (await isDisabled(ca, enrolled.person, tx)) throw over();
    if (!host.logins.includes(body.login))
      throw new CaError(
        'request-malformed',
        `${host.id} has no login ${body.login}: it has ${host.logins.join(', ')}`,
      );
    requireFew(await countSelfTests(tx, host.id, dayBefore(ca)));
    const userCa = await ca.userCa.signing(tx);
    await requireKeyOf(tx, ca, fingerprint(publicKey), enrolled.person);
    const serial = await nextSerial(tx);
    const facts = {
      serial: serial.toString(),
      login: body.login,
      enrolment_token: enrolled.token,
      public_key: fingerprint(publicKey),
      authority: fingerprint(userCa.publicKey),
      valid_before: new Date(life.until * 1000).toISOString(),
    };
    const about = { person: enrolled.person, service: ENROLMENT_SERVICE, host: host.id };
    const { seq, hash } = await ca.records.append(tx, { kind: 'host-self-test', ...about, grant, facts });
    await insertCertificate(tx, {
      ...about,
      serial: storedSerial(serial),
      kind: 'user',
      grant_id: grant,
      session: null,
      login: body.login,
      commands: '[]',
      public_key: facts.public_key,
      authority: facts.authority,
      valid_after: life.from * 1000,
      valid_before: life.until * 1000,
      revoked_at: null,
      halted: 0,
      record_seq: seq,
      record_hash: hash,
    });
    return { userCa, serial, about, token: enrolled.token, record: { seq, hash } };
  });
  const { userCa, serial, about, token, record } = written;
  const keyId = `beacon/${grant}/${about.person}`;
  const session = createHash('sha256').update(token).digest('base64url');
  const text = formatGrant({ grant, session, ...about, login: body.login, commands: [] });
  const blob = await signUserCertificate(
    {
      publicKey,
      serial,
      keyId,
      principals: [principal],
      validAfter: BigInt(life.from),
      validBefore: BigInt(life.until),
      criticalOptions: {},
      extensions: { 'grant@beacon': text },
    },
    userCa,
    randomBytes(32),
  );
  const certificate = formatCertificateLine(blob, keyId);
  return { certificate, serial, grant, principal, validBefore: new Date(life.until * 1000), record };
}

function over(): CaError {
  return new CaError(
    'self-test-over',
    'a host tests itself in the hour after its enrolment: later, log in with a certificate of your own',
  );
}
