/**
 * `POST /v1/certificates`: one certificate for one person, one host, one login (DESIGN.md sections 3.3 and 4; the format
 * is draft-ietf-sshm-cert-01, in the ssh package). The order is the point: nothing is signed before the record is on
 * disk, and what is signed was all decided before.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { Decision } from '@beacon/policy';
import { formatGrant, type GrantedCommand } from '@beacon/protocol/grant';
import {
  type CertificateAnswer,
  type CertificateRequest,
  MIN_LIFETIME_SECONDS,
} from '@beacon/protocol/http/certificates';
import { createId } from '@beacon/protocol/id';
import { formatPrincipal } from '@beacon/protocol/name';
import { formatCertificateLine } from '@beacon/ssh/certificate';
import type { CriticalOptions, Extensions } from '@beacon/ssh/options';
import { fingerprint, type PublicKey } from '@beacon/ssh/public-key';
import { signUserCertificate, type UserCa } from '@beacon/ssh/sign-certificate';
import type { Caller } from './access-token.ts';
import type { Ca } from './ca.ts';
import { requireReady } from './ca-key.ts';
import { type CaKeyRow, readTrustedKeys } from './ca-key-store.ts';
import { decide, denialError } from './decision.ts';
import { CaError } from './error.ts';
import { findHost, type Host, hostRefusal } from './hosts.ts';
import { proveKey, type ReadCommands, readCommands, readSubjectKey } from './request.ts';
import { pinRules } from './rules.ts';
import { refuseService } from './services.ts';
import { insertCertificate, nextSerial, readHost, storedSerial } from './store.ts';
import { requireKeyOf } from './subject-key.ts';
import { recordRefusal, write } from './write.ts';

const BACKDATE_SECONDS = 60;
const NONCE_BYTES = 32;

interface CertificateOptions {
  readonly criticalOptions: CriticalOptions;
  readonly extensions: Extensions;
}

export interface Asked {
  readonly host: string;
  readonly login: string;
  readonly lifetimeSeconds: number;
  readonly publicKey: PublicKey;
  readonly commands: ReadCommands | undefined;
  readonly ip: string;
}

type Allowed = Extract<Decision, { allowed: true }>;

/** Throws CaError; every refusal of a known caller leaves a record. */
export async function issueCertificate(
  running: Ca,
  caller: Caller,
  request: { body: CertificateRequest; rawBody: Buffer; ip: string },
): Promise<CertificateAnswer> {
  const ca = pinRules(running);
  const asked = readAsked(request.body, request.ip);
  try {
    await proveKey(caller, asked.publicKey, request.rawBody);
    refuseService(
      ca,
      caller.service,
      asked.commands === undefined ? 'personal-certificates' : 'run-certificates',
    );
    const host = await findUsableHost(ca, asked.host);
    const decision = await decideOrRefuse(ca, caller, host, asked);
    const plan = planCertificate(ca, caller, host, asked, decision);
    ca.requireClock();
    // A key in an agent that is gone takes no serial and leaves no record of a certificate that nobody got.
    await requireReady(ca, ca.userCa);
    const recorded = await recordGrant(ca, caller, host, asked, decision, plan);
    const certificate = await sign(recorded, asked, plan);
    const authorities = await readTrustedKeys(ca.store, 'host');
    return answer(host, plan, recorded, { certificate, authorities }, decision);
  } catch (error) {
    if (error instanceof CaError) await recordRefused(ca, caller, asked, error);
    throw error;
  }
}

function readAsked(body: CertificateRequest, ip: string): Asked {
  return {
    host: body.host,
    login: body.login,
    lifetimeSeconds: body.lifetime_seconds,
    publicKey: readSubjectKey(body.public_key),
    commands: body.commands === undefined ? undefined : readCommands(body.commands),
    ip,
  };
}

/** The host, unless it is disabled. Throws CaError `host-unknown` or `host-disabled`. */
export async function findUsableHost(ca: Ca, id: string): Promise<Host> {
  const host = await findHost(ca, id);
  const refusal = hostRefusal(host);
  if (refusal !== undefined) throw refusal;
  return host;
}

async function decideOrRefuse(ca: Ca, caller: Caller, host: Host, asked: Asked): Promise<Allowed> {
  const decision = decide(ca, {
    person: caller.person,
    memberships: await ca.memberships(caller, ca.policy),
    host,
    login: asked.login,
    lifetimeSeconds: asked.lifetimeSeconds,
    ...(asked.commands === undefined ? {} : { commands: asked.commands.asked }),
    service: caller.service,
    ip: asked.ip,
  });
  if (!decision.allowed) throw denialError(decision);
  return decision;
}

interface Plan {
  readonly grant: string;
  readonly keyId: string;
  readonly principal: string;
  readonly validAfter: number;
  readonly validBefore: number;
  readonly shortened: boolean;
  readonly options: CertificateOptions;
  readonly granted: readonly GrantedCommand[];
}

/** All of the certificate but its serial. Throws CaError `session-ending` or `grant-too-long`. */
function planCertificate(ca: Ca, caller: Caller, host: Host, asked: Asked, decision: Allowed): Plan {
  const nowSeconds = Math.floor(ca.now().getTime() / 1000);
  const sessionEnd = Math.floor(caller.sessionEndsAt.getTime() / 1000);
  const wanted = nowSeconds + asked.lifetimeSeconds;
  if (sessionEnd - nowSeconds < MIN_LIFETIME_SECONDS) {
    throw new CaError('session-ending', 'your session ends within half a minute: run `beacon login` again');
  }
  const grant = createId(ca.now().getTime());
  const granted = asked.commands?.granted ?? [];
  return {
    grant,
    keyId: `beacon/${grant}/${caller.person}`,
    principal: formatPrincipal(asked.login, host.id),
    validAfter: nowSeconds - BACKDATE_SECONDS,
    validBefore: Math.min(wanted, sessionEnd),
    shortened: sessionEnd < wanted,
    options:
      asked.commands === undefined ? personalOptions(decision) : runOptions(ca, caller, host, asked, grant),
    granted,
  };
}

function personalOptions(decision: Allowed): CertificateOptions {
  return {
    criticalOptions: {},
    extensions: Object.fromEntries(decision.limits.extensions.map((name) => [name, true as const])),
  };
}

/** A run certificate carries its grant and nothing that a login could use: the host forces the gate. */
function runOptions(ca: Ca, caller: Caller, host: Host, asked: Asked, grant: string): CertificateOptions {
  const sources = ca.services.get(caller.service)?.source_addresses ?? [];
  let text: string;
  try {
    text = formatGrant({
      grant,
      session: createHash('sha256').update(caller.sessionId).digest('base64url'),
      person: caller.person,
      service: caller.service,
      host: host.id,
      login: asked.login,
      commands: asked.commands?.granted ?? [],
    });
  } catch (error) {
    throw new CaError('grant-too-long', 'the grant would be longer than 8 KiB: ask for fewer commands', {
      cause: error,
    });
  }
  return {
    criticalOptions: sources.length === 0 ? {} : { 'source-address': sources.join(',') },
    extensions: { 'grant@beacon': text },
  };
}

interface Recorded {
  /** The key that signs. */
  readonly userCa: UserCa;
  readonly serial: bigint;
  readonly record: { readonly seq: number; readonly hash: string };
}

/** The record, the serial and the certificate's row, durable together before anything is signed. */
function recordGrant(
  ca: Ca,
  caller: Caller,
  host: Host,
  asked: Asked,
  decision: Allowed,
  plan: Plan,
): Promise<Recorded> {
  const publicKey = fingerprint(asked.publicKey);
  return write(ca, caller, async (tx) => {
    const userCa = await ca.userCa.signing(tx);
    const authority = fingerprint(userCa.publicKey);
    const current = await readHost(tx, host.id);
    if (current?.record_seq !== host.recordSeq) {
      throw new CaError('host-changed', `the host ${host.id} was changed just now: try again`);
    }
    await requireKeyOf(tx, ca, publicKey, caller.person);
    const serial = await nextSerial(tx);
    const record = await ca.records.append(tx, {
      kind: 'certificate',
      person: caller.person,
      service: caller.service,
      host: host.id,
      grant: plan.grant,
      facts: {
        serial: serial.toString(),
        login: asked.login,
        session: createHash('sha256').update(caller.sessionId).digest('base64url'),
        public_key: publicKey,
        authority,
        valid_after: seconds(plan.validAfter),
        valid_before: seconds(plan.validBefore),
        extensions: Object.keys(plan.options.extensions).filter((name) => name !== 'grant@beacon'),
        policies: [...decision.policies],
        policy_version: decision.version,
        source: await ca.records.hide(tx, asked.ip, caller.person),
        ...(plan.granted.length === 0 ? {} : { commands: recordedCommands(asked, plan) }),
      },
    });
    await insertCertificate(tx, {
      serial: storedSerial(serial),
      kind: 'user',
      grant_id: plan.grant,
      person: caller.person,
      service: caller.service,
      session: caller.sessionId,
      host: host.id,
      login: asked.login,
      commands: JSON.stringify(plan.granted.map(({ command }) => command)),
      public_key: publicKey,
      authority,
      valid_after: plan.validAfter * 1000,
      valid_before: plan.validBefore * 1000,
      revoked_at: null,
      halted: 0,
      record_seq: record.seq,
      record_hash: record.hash,
    });
    return { userCa, serial, record: { seq: record.seq, hash: record.hash } };
  });
}

function recordedCommands(asked: Asked, plan: Plan) {
  return plan.granted.map(({ command, digest, undo }, index) => ({
    command,
    digest,
    params: { ...asked.commands?.asked[index]?.params },
    ...(undo === undefined ? {} : { undo: { command: undo.command, digest: undo.digest } }),
  }));
}

async function sign({ userCa, serial }: Recorded, asked: Asked, plan: Plan): Promise<string> {
  const blob = await signUserCertificate(
    {
      publicKey: asked.publicKey,
      serial,
      keyId: plan.keyId,
      principals: [plan.principal],
      validAfter: BigInt(plan.validAfter),
      validBefore: BigInt(plan.validBefore),
      ...plan.options,
    },
    userCa,
    randomBytes(NONCE_BYTES),
  );
  return formatCertificateLine(blob, plan.keyId);
}

function answer(
  host: Host,
  plan: Plan,
  recorded: Recorded,
  made: { readonly certificate: string; readonly authorities: readonly CaKeyRow[] },
  decision: Allowed,
): CertificateAnswer {
  return {
    certificate: made.certificate,
    serial: recorded.serial.toString(),
    grant: plan.grant,
    key_id: plan.keyId,
    principal: plan.principal,
    valid_after: seconds(plan.validAfter),
    valid_before: seconds(plan.validBefore),
    ...(plan.shortened ? { shortened_by: 'session' as const } : {}),
    policies: [...decision.policies],
    host: {
      id: host.id,
      address: host.address,
      port: host.port,
      certificate_authorities: made.authorities.map((key) => key.public_key),
    },
    record: recorded.record,
  };
}

function recordRefused(ca: Ca, caller: Caller, asked: Asked, error: CaError): Promise<void> {
  const denial = error.denial === undefined ? {} : { denial: JSON.stringify(error.denial) };
  return recordRefusal(ca, caller, error, {
    host: asked.host,
    facts: { login: asked.login, lifetime_seconds: String(asked.lifetimeSeconds), ...denial },
    ip: asked.ip,
  });
}

function seconds(value: number): string {
  return new Date(value * 1000).toISOString();
}
