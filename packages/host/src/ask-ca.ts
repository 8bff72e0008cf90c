/**
 * What a machine asks the CA for itself (`@beacon/protocol/host-request`): each request is signed over its exact body by
 * the host's SSH key, in the namespace of its purpose. A machine whose clock is wrong is told the CA's time by a refusal
 * and asks once more with it. What the CA answers is read strictly; certificates are verified by who uses them.
 */
import { randomBytes } from 'node:crypto';
import { exchange, type HttpAnswer, type Outside, plainText } from '@beacon/client';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import { ProtocolError } from '@beacon/protocol/error';
import {
  ENROLMENT_NAMESPACE,
  HOST_SIGNATURE_HEADER,
  KEY_PROOF_HEADER,
  RENEWAL_NAMESPACE,
  REPORT_NAMESPACE,
  SELF_TEST_NAMESPACE,
} from '@beacon/protocol/host-request';
import { type Problem, problemKind, readProblem } from '@beacon/protocol/problem';
import { RELEASE_HEADER } from '@beacon/protocol/release';
import { type Json, parseStrictJsonBytes } from '@beacon/protocol/strict-json';
import { formatPublicKeyLine } from '@beacon/ssh/public-key';
import type { Signer } from '@beacon/ssh/signature';
import { signMessage } from '@beacon/ssh/sshsig';
import { HostError } from './error.ts';
import { HOST_VERSION } from './version.ts';

/** Who asks whom. */
export interface Asker {
  readonly outside: Outside;
  /** The CA's public URL. */
  readonly ca: string;
  readonly host: string;
  /** The host's own key. */
  readonly key: Signer;
}

/** What a report says beside who, when and by what key; see `POST /v1/host-reports`. */
export interface Report {
  readonly clock: string;
  readonly versions: { readonly beacon: string; readonly sshd: string };
  readonly trust: { readonly root: number; readonly status: number };
  /** The serial of the host certificate that sshd shows. */
  readonly certificate?: string;
  readonly contract?: { readonly sha256: string; readonly allowlist?: string };
  readonly head: { readonly seq: number; readonly hash: string };
  readonly records: readonly string[];
}

export interface ReportTaken {
  readonly head: ChainHead;
  readonly contractKnown: boolean;
  readonly clockOffSeconds: number;
  /** The host certificate is to be renewed now, for its CA key goes. */
  readonly renew: boolean;
}

const KEY_PROOF_NAMESPACE = 'certificate@beacon';
const MOST_BYTES = 64 * 1024;

/** What the operator does where the CA's own words end. */
const ADVICE: Readonly<Record<string, string>> = {
  'host-exists':
    'was this machine set up anew, or its image restored? then an administrator makes a token with --replace',
  'key-in-use':
    "a copied machine must not keep the other's key: remove /etc/ssh/ssh_host_*, call ssh-keygen -A, restart sshd",
  'key-revoked': 'remove /etc/ssh/ssh_host_*, call ssh-keygen -A, restart sshd, and enrol with a new token',
  'host-certificate-ended': 'call beacon host init with that token',
  'host-signature-invalid':
    'if the machine was set up anew or its image restored, enrol it again with a token made with --replace',
};

/** Shows the token's secret. The result is the host certificate, one line, not verified. Throws HostError `ca-refused`, ClientError. */
export async function enrol(asker: Asker, secret: string): Promise<string> {
  const body = { v: 1, secret, host: asker.host, host_key: formatPublicKeyLine(asker.key.publicKey) };
  const answer = await ask(asker, { path: '/v1/host-enrolments', namespace: ENROLMENT_NAMESPACE, body });
  return textOf(answer, 'certificate');
}

/** The next host certificate, one line, not verified. Throws like {@link enrol}. */
export async function renew(asker: Asker): Promise<string> {
  const request = { path: '/v1/host-renewals', namespace: RENEWAL_NAMESPACE };
  return textOf(await askFresh(asker, request, {}), 'certificate');
}

/** A certificate of a minute without commands for `fresh`, one line, not verified. Throws like {@link enrol}. */
export async function askSelfTest(asker: Asker, login: string, fresh: Signer): Promise<string> {
  const request = { path: '/v1/host-self-tests', namespace: SELF_TEST_NAMESPACE, prover: fresh };
  const fields = { login, public_key: formatPublicKeyLine(fresh.publicKey) };
  return textOf(await askFresh(asker, request, fields), 'certificate');
}

/** Tells the CA about this host. Throws like {@link enrol}. */
export async function sendReport(asker: Asker, report: Report): Promise<ReportTaken> {
  const request = { path: '/v1/host-reports', namespace: REPORT_NAMESPACE };
  const answer = await askFresh(asker, request, { ...report });
  const { head, contract_known: contractKnown, clock_off_seconds: clockOffSeconds } = answer;
  if (typeof contractKnown !== 'boolean' || typeof clockOffSeconds !== 'number' || !isObject(head)) {
    throw malformed('a member is missing');
  }
  const known = readHead(head);
  if (known === undefined) throw malformed('its head is none');
  return { head: known, contractKnown, clockOffSeconds, renew: answer['renew'] === true };
}

/** A head of records as the CA names it; undefined where it is none. */
export function readHead({ seq, hash }: { readonly [key: string]: unknown }): ChainHead | undefined {
  const isHash = typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash);
  return typeof seq === 'number' && Number.isSafeInteger(seq) && seq >= 0 && isHash
    ? { seq, hash }
    : undefined;
}

interface Request {
  readonly path: string;
  readonly namespace: string;
  /** A second key that proves itself. */
  readonly prover?: Signer;
}

type Members = Readonly<Record<string, Json>>;

/** A request that is good once and at this time. */
async function askFresh(asker: Asker, request: Request, fields: object): Promise<Members> {
  const at = (time: string): object => ({
    v: 1,
    host: asker.host,
    at: time,
    nonce: randomBytes(32).toString('base64url'),
    ...fields,
  });
  try {
    return await ask(asker, { ...request, body: at(asker.outside.now().toISOString()) });
  } catch (error) {
    if (!(error instanceof HostError) || error.refusal?.code !== 'host-request-stale') throw error;
    const theirs = error.refusal.denial?.['now'];
    if (typeof theirs !== 'string') throw error;
    return await ask(asker, { ...request, body: at(theirs) });
  }
}

async function ask(
  { outside, ca, key }: Asker,
  { path, namespace, prover, body }: Request & { readonly body: object },
): Promise<Members> {
  const message = Buffer.from(JSON.stringify(body));
  const sign = async (signer: Signer, purpose: string): Promise<string> =>
    (await signMessage(signer, purpose, message)).toString('base64');
  const headers = {
    'content-type': 'application/json',
    [RELEASE_HEADER]: HOST_VERSION,
    [HOST_SIGNATURE_HEADER]: await sign(key, namespace),
    ...(prover === undefined ? {} : { [KEY_PROOF_HEADER]: await sign(prover, KEY_PROOF_NAMESPACE) }),
  };
  const url = new URL(path, ca).href;
  const answer = await exchange(outside, {
    method: 'POST',
    url,
    headers,
    body: message,
    maxBytes: MOST_BYTES,
  });
  if (answer.status !== 200 && answer.status !== 201) throw refusedBy(answer);
  return readMembers(answer.body);
}

function readMembers(body: Buffer): Members {
  try {
    const value = parseStrictJsonBytes(body);
    if (isObject(value)) return value;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw malformed(error.message, error);
  }
  throw malformed('it is no object');
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(answer: Members, name: string): string {
  const value = answer[name];
  if (typeof value === 'string') return value;
  throw malformed(`it has no ${name}`);
}

function refusedBy({ status, body }: HttpAnswer): HostError {
  const problem = readProblem(body.toString('utf8'));
  if (problem === undefined) {
    return malformed(`it answered ${status} and does not say why: is this the address of a Beacon CA?`);
  }
  const refusal: Problem = { ...problem, code: plainText(problem.code, 100) };
  const advice = ADVICE[refusal.code];
  const said = `${plainText(problem.detail)}${advice === undefined ? '' : `; ${advice}`}`;
  return new HostError('ca-refused', `the CA refuses (${refusal.code}): ${said}`, {
    refusal,
    kind: problemKind(problem.type) ?? 'denied',
  });
}

function malformed(what: string, cause?: unknown): HostError {
  return new HostError('answer-malformed', `the CA's answer is refused: ${what}`, { cause });
}
