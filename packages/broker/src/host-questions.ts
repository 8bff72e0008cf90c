/**
 * Short questions to a host in the name of the person who asks: what it recorded of a grant (`gate.records`), which
 * runners it has (`runner.list`). Each is granted by the CA like any command, by a certificate of its own, for a grant
 * starts a command once; all of them go through one session, by a key that is forgotten right after. What is asked is
 * recorded before the host hears of it.
 */
import { randomBytes } from 'node:crypto';
import { type CaApi, type ObtainedCertificate, obtainCertificate } from '@beacon/client';
import type { Records } from '@beacon/server';
import { generateKey } from '@beacon/ssh/key';
import { createSigner, type Signer } from '@beacon/ssh/signature';
import type { RunCommit } from './run-journal.ts';
import {
  type CallAnswer,
  callGate,
  type Dial,
  endCall,
  type RunConnection,
  replaceCertificate,
} from './run-session.ts';
import { lifetimeSeconds, type StepRequest, stepRequest } from './step-request.ts';

export interface HostQuestion {
  readonly command: string;
  readonly params: Readonly<Record<string, string>>;
}

export interface HostQuestions {
  readonly person: string;
  readonly api: Pick<CaApi, 'requestCertificate' | 'authorityKeys' | 'revocationList'>;
  readonly host: string;
  readonly login: string;
  readonly questions: readonly HostQuestion[];
  readonly signal: AbortSignal;
}

export interface HostQuestionParts {
  readonly dial: Dial;
  readonly commit: RunCommit;
  readonly records: Pick<Records, 'append'>;
  readonly now: () => Date;
}

const TIMEOUT_SECONDS = 20;

/**
 * An answer for each question, in their order. The signal ends the session. Throws BrokerError or ClientError when the host
 * cannot be asked.
 */
export async function askHost(
  parts: HostQuestionParts,
  asking: HostQuestions,
): Promise<readonly CallAnswer[]> {
  const { api, questions, signal } = asking;
  const signer = createSigner(generateKey('ssh-ed25519').privateKey);
  const revokedHosts = await api.revocationList();
  const answers: CallAnswer[] = [];
  let connection: RunConnection | undefined;
  let id = 0;
  try {
    for (const question of questions) {
      const { asked, forCa } = stepRequest({ ...question, secretNames: [] }, new Map(), randomBytes);
      const obtained = await grantOf(parts, asking, { command: forCa, signer });
      if (connection === undefined) {
        connection = await parts.dial({ obtained, revokedHosts, signal });
        // Who asked has gone, or waits no longer: a host that never answers would keep its connection.
        if (signal.aborted) connection.kill();
        else signal.addEventListener('abort', connection.kill.bind(connection), { once: true });
      } else await replaceCertificate(connection, ++id, obtained);
      answers.push(await callGate(connection, { kind: 'command', id: ++id, asked }));
    }
    return answers;
  } finally {
    if (connection !== undefined) await endCall(connection, ++id);
  }
}

async function grantOf(
  { commit, records, now }: HostQuestionParts,
  { person, api, host, login }: HostQuestions,
  { command, signer }: { readonly command: StepRequest['forCa']; readonly signer: Signer },
): Promise<ObtainedCertificate> {
  const lifetime = lifetimeSeconds([{ timeoutSeconds: TIMEOUT_SECONDS }]);
  const wish = { host, login, lifetimeSeconds: lifetime, commands: [command] };
  const obtained = await obtainCertificate(api, wish, { signer, now });
  const { grant } = obtained;
  const facts = { commands: [command.command] };
  await commit.write((tx) => records.append(tx, { kind: 'host-asked', person, host, grant, facts }));
  return obtained;
}
