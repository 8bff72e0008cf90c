/** A small CA that publishes trust documents: its offline root key is here, and roots are drawn up as an operator would. */
import { formatTrustRoot, TRUST_ROOT_NAMESPACE, type TrustRoot } from '@beacon/protocol/trust';
import { handoverMessage, TRUST_HANDOVER_NAMESPACE } from '@beacon/protocol/trust-handover';
import { formatPublicKeyLine, type PublicKey } from '@beacon/ssh/public-key';
import type { Signer } from '@beacon/ssh/signature';
import { formatMessageSignature, signMessage } from '@beacon/ssh/sshsig';
import type { CaKeys } from '../src/keys.ts';
import { type LoggedIn, makeKeys, newSigner, type Reply, SmallCa, type SmallCaOptions } from './small-ca.ts';

export interface TrustLab {
  readonly ca: SmallCa;
  readonly ada: LoggedIn;
  /** The offline key. */
  readonly root: Signer;
  readonly status: Signer;
}

/** `more`: keys beside those in use. */
export async function startTrustLab(
  options: SmallCaOptions = {},
  more: Partial<CaKeys> = {},
): Promise<TrustLab> {
  const [root, status] = [newSigner(), newSigner()];
  const keys = { ...(await makeKeys()), trust: { root: root.publicKey, status }, ...more };
  const ca = await SmallCa.start({ quiet: true, keys, ...options });
  return { ca, ada: await ca.login('ada'), root, status };
}

export const lineOf = (key: PublicKey) => formatPublicKeyLine(key);

/** The root that fits this CA, with what is changed. */
export function draw(lab: TrustLab, change: Partial<TrustRoot> = {}): string {
  const now = lab.ca.clock.now();
  return formatTrustRoot({
    version: 1,
    issued: now,
    expires: new Date(now.getTime() + 365 * 86_400_000),
    hosts: '[a-z0-9][a-z0-9.-]*',
    logins: ['beacon'],
    userCa: [lineOf(lab.ca.keys.userCa.publicKey)],
    hostCa: [lineOf(lab.ca.keys.hostCa.publicKey)],
    statusKey: lineOf(lab.status.publicKey),
    ...change,
  });
}

export async function signText(
  signer: Signer,
  document: string,
  namespace = TRUST_ROOT_NAMESPACE,
): Promise<string> {
  return formatMessageSignature(await signMessage(signer, namespace, Buffer.from(document)));
}

export async function handOver(from: Signer, to: PublicKey, document: string): Promise<string> {
  const message = handoverMessage(lineOf(to), Buffer.from(document));
  return formatMessageSignature(await signMessage(from, TRUST_HANDOVER_NAMESPACE, message));
}

/** Signs and hands in; any part may be another. */
export async function publish(
  lab: TrustLab,
  document = draw(lab),
  parts: { signature?: string; handover?: string; who?: LoggedIn; now?: boolean } = {},
): Promise<Reply> {
  const { who = lab.ada, handover } = parts;
  const signature = parts.signature ?? (await signText(lab.root, document));
  return lab.ca.ask(who, 'POST', '/v1/trust/root', {
    v: 1,
    document,
    signature,
    ...(handover === undefined ? {} : { handover }),
    ...(parts.now === undefined ? {} : { now: parts.now }),
  });
}
