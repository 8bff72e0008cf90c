/** What a test may change about the CA for tests while it runs. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ChainHead } from '@beacon/protocol/checkpoint';
import type { Extensions } from '@beacon/ssh/options';
import type { signUserCertificate } from '@beacon/ssh/sign-certificate';

export interface SmallHost {
  readonly id: string;
  readonly address: string;
  readonly port: number;
  readonly logins: readonly string[];
}

/** Everything here may be changed while it runs. */
export interface Knobs {
  hosts: SmallHost[];
  extensions: Extensions;
  /** How many polls of the device grant are answered with "wait". */
  pendingPolls: number;
  pollRefusal: string | undefined;
  intervalSeconds: number;
  askNonce: boolean;
  accessTokenSeconds: number;
  /** Changes an answer before it is sent. */
  tamper: (path: string, body: Record<string, unknown>) => unknown;
  /** Answers instead of the real answer. */
  intercept: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** What is signed instead of what was asked for. */
  certificate: (
    fields: Parameters<typeof signUserCertificate>[0],
  ) => Parameters<typeof signUserCertificate>[0];
  /** Denied with this problem, by host id. */
  denials: Record<string, { code: string; detail: string; missing: unknown[] }>;
  /** The heads of hosts' records, of those that have reported. */
  heads: Record<string, ChainHead>;
  /** The heads of services' records. */
  services: Record<string, ChainHead>;
  /** What the checkpoint commits to instead. */
  committed: Record<string, ChainHead> | undefined;
}
