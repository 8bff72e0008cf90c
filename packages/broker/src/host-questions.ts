/**
 * Short questions to a host in the name of the person who asks: what it recorded of a grant (`gate.records`), which
 * runners it has (`runner.list`). Each is granted by the CA like any command, by a certificate of its own whose key is
 * forgotten right after; what was asked is recorded before anybody connects.
 */
import { randomBytes } from 'node:crypto';
import { type CaApi, obtainCertificate } from '@beacon/client';
import type { Records } from '@beacon/server';
import type { RunCommit } from './run-journal.ts';
import { type CallAnswer, callGate, type Dial, endCall } from './run-session.ts';
import { lifetimeSeconds, stepRequest } from './step-request.ts';

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

/** An answer for each question, in their order. Throws BrokerError or ClientError when the host cannot be asked. */
export async function askHost(
  { dial, commit, records, now }: HostQuestionParts,
  { person, api, host, login, questions, signal }: HostQuestions,
): Promise<readonly CallAnswer[]> {
  const requests = questions.map((question) =>
    stepRequest({ ...question, secretNames: [] }, new Map(), randomBytes),
  );
  const revokedHosts = await api.revocationList();
  const obtained = await obtainCertificate(
    api,
    {
      host,
      login,
      lifetimeSeconds: lifetimeSeconds(questions.map(() => ({ timeoutSeconds: TIMEOUT_SECONDS }))),
      commands: requests.map(({ forCa }) => forCa),
    },
    { now },
  );
  const { grant } = obtained;
  const facts = { commands: questions.map(({ command }) => command) };
  await commit.write((tx) => records.append(tx, { kind: 'host-asked', person, host, grant, facts }));
  const connection = await dial({ obtained, revokedHosts, signal });
  try {
    const answers: CallAnswer[] = [];
    for (const [index, { asked }] of requests.entries())
      answers.push(await callGate(connection, { kind: 'command', id: index + 1, asked }));
    return answers;
  } finally {
    await endCall(connection, requests.length + 1);
  }
}
