/**
 * `POST /v1/host-enrolments`: a machine shows a token and its host key, and is a host (DESIGN.md section 6). All about the
 * host comes from the token, the key alone from the machine. An id once taken is refused, unless the token was made to
 * enrol it again, which revokes its old certificates. The same machine may ask again with the same token and key while the
 * token lives, for an answer that was lost; a token counts as used by then. Refusals of tokens are all in one wording.
 */
import { ENROLMENT_NAMESPACE, HOST_SIGNATURE_HEADER } from '@beacon/protocol/host-request';
import { digestTokenSecret } from '@beacon/protocol/host-token';
import type { EnrolmentRequest } from '@beacon/protocol/http/enrolment';
import { compilePattern } from '@beacon/protocol/pattern';
import { formatPublicKeyLine, type PublicKey } from '@beacon/ssh/public-key';
import type { Ca, Tx } from './ca.ts';
import { requireReady } from './ca-key.ts';
import type { HostTokenRow } from './enrolment-store.ts';
import { CaError } from './error.ts';
import { hostCertificateLife, type IssuedHostCertificate, type Life, signHost } from './host-certificate.ts';
import { HEADS_COUNTER } from './host-heads.ts';
import { requireCurrent } from './host-renewal.ts';
import { requireSignedBy, type SignedRequest } from './host-request.ts';
import { spendToken, type TokenContent, verifyToken } from './host-token.ts';
import { forgetWitness } from './host-witness.ts';
import { certifyHost, type Host, type HostContent, requireUnknown, verifiedHost } from './hosts.ts';
import { isDisabled } from './persons.ts';
import { readSubjectKey } from './request.ts';
import { bumpCounter } from './store.ts';

/** Throws CaError `host-signature-invalid`, `host-token-refused`, `host-exists`, `key-in-use`, `key-revoked`. */
export async function enrolHost(
  ca: Ca,
  body: EnrolmentRequest,
  signed: SignedRequest,
): Promise<IssuedHostCertificate> {
  const key = readSubjectKey(body.host_key);
  await requireSignedBy(key, signed, HOST_SIGNATURE_HEADER, ENROLMENT_NAMESPACE);
  ca.requireClock();
  await requireReady(ca, ca.hostCa);
  const life = hostCertificateLife(ca.now());
  try {
    return await signHost(await ca.commit.write((tx) => redeem(ca, tx, body, key, life)));
  } catch (error) {
    if (error instanceof CaError) await recordRefused(ca, body, error);
    throw error;
  }
}

async function redeem(ca: Ca, tx: Tx, body: EnrolmentRequest, key: PublicKey, life: Life) {
  const token = await findToken(tx, body);
  if (token === undefined) throw refused();
  const content = await verifyToken(ca, token, tx);
  if (token.expires_at <= ca.now().getTime() || !isFor(content, body.host)) throw refused();
  if (await isDisabled(ca, token.person, tx)) throw refused();
  const row = await tx.selectFrom('hosts').selectAll().where('id', '=', body.host).executeTakeFirst();
  if (row === undefined) await requireUnknown(body.host, tx);
  const before = row === undefined ? undefined : await verifiedHost(ca, row, tx);
  const line = formatPublicKeyLine(key);
  const isAgain =
    before?.enrolled?.token === token.id && before.host_key === line && before.state === 'enabled';
  if (!isAgain && token.uses_left < 1) throw refused();
  if (!isAgain) requireFree(content, before);
  // A token that was used is no way around a revocation.
  if (isAgain) await requireCurrent(ca, tx, key);
  const used = {
    kind: 'host-token-used',
    person: token.person,
    facts: { enrolled: body.host },
  };
  const replaced = isAgain || before === undefined ? [] : await revokeCertificates(ca, tx, body.host);
  if (!isAgain) await spendToken(ca, tx, token, token.uses_left - 1, used);
  if (!isAgain) await forgetReports(tx, body.host);
  const text = isAgain
    ? (row?.content ?? '')
    : JSON.stringify(contentOf(ca, token, content, body.host, line));
  return certifyHost(
    ca,
    tx,
    { id: body.host, content: text, key, life },
    {
      kind: isAgain ? 'host-certificate' : 'host-enrolled',
      person: token.person,
      facts: { enrolment_token: token.id, revoked: replaced },
    },
  );
}

function findToken(tx: Tx, { secret }: EnrolmentRequest): Promise<HostTokenRow | undefined> {
  return tx
    .selectFrom('host_tokens')
    .selectAll()
    .where('secret_digest', '=', digestTokenSecret(secret))
    .executeTakeFirst();
}

function isFor(content: TokenContent, host: string): boolean {
  return content.kind === 'host' ? content.host === host : compilePattern(content.hosts).matches(host);
}

/** A host that is there is replaced by a token that was made for that, while nothing else has changed it since. */
function requireFree(content: TokenContent, before: Host | undefined): void {
  const replaces = content.kind === 'host' ? content.replaces : null;
  if ((before?.recordSeq ?? null) === replaces) return;
  if (before === undefined) throw refused();
  throw new CaError(
    'host-exists',
    `an id once taken is not given again: to enrol ${before.id} anew, an administrator makes a token with --replace`,
  );
}

function contentOf(
  ca: Ca,
  token: HostTokenRow,
  content: TokenContent,
  host: string,
  line: string,
): HostContent {
  const domain = content.kind === 'pool' ? content.domain : null;
  const address = content.kind === 'host' ? content.address : domain === null ? host : `${host}.${domain}`;
  const { port, logins, labels, pools } = content.place;
  const enrolled = { token: token.id, person: token.person, at: ca.now().toISOString() };
  return { address, port, logins, labels, pools, host_key: line, enrolled };
}

/** The records of a machine in another's place begin anew. */
async function forgetReports(tx: Tx, host: string): Promise<void> {
  const gone = await tx.deleteFrom('host_reports').where('host', '=', host).executeTakeFirst();
  if (gone.numDeletedRows > 0n) await bumpCounter(tx, HEADS_COUNTER);
  await forgetWitness(tx, host);
}

/** The host's certificates that have not ended; answers their serials. */
async function revokeCertificates(ca: Ca, tx: Tx, host: string): Promise<string[]> {
  const nowMs = ca.now().getTime();
  const rows = await tx
    .updateTable('certificates')
    .set({ revoked_at: nowMs })
    .where('kind', '=', 'host')
    .where('host', '=', host)
    .where('revoked_at', 'is', null)
    .where('valid_before', '>', nowMs)
    .returning('serial')
    .execute();
  if (rows.length > 0) await bumpCounter(tx, 'krl');
  return rows.map(({ serial }) => BigInt(serial).toString());
}

/** One record of a refusal by who holds a token of ours; a stranger's guess leaves a log line alone. */
async function recordRefused(ca: Ca, body: EnrolmentRequest, error: CaError): Promise<void> {
  await ca.commit.write(async (tx) => {
    const token = await findToken(tx, body);
    if (token === undefined) return;
    await ca.records.append(tx, {
      kind: 'refused',
      host: body.host,
      facts: { code: error.code, enrolment_token: token.id },
    });
  });
}

function refused(): CaError {
  return new CaError(
    'host-token-refused',
    'this token opens nothing: it is unknown, used, expired, taken back, or for another host; ask an administrator for a new one',
  );
}
