/**
 * `beacon login`, `logout` and `whoami`: the person's session with the CA. The code is typed into a page of the CA, after
 * signing in with GitHub there; nothing of GitHub's ever comes here.
 */
import { hostname, platform } from 'node:os';
import {
  type CaApi,
  ClientError,
  createCaApi,
  discoverCa,
  exportProofKey,
  finishDeviceLogin,
  generateProofKey,
  openSession,
  type PersonSession,
  parseServerUrl,
  startDeviceLogin,
  storedSession,
} from '@beacon/client';
import { findBroker } from './broker.ts';
import { readConfiguration, rememberAddress } from './configuration.ts';
import { type Context, openCa, requirePosix } from './context.ts';
import { usageError } from './error.ts';
import { openSessionFile, type SessionFile } from './session-file.ts';
import { removePersonalCertificates } from './ssh-config-files.ts';
import { formatTime } from './terminal.ts';

const CLIENT_ID = 'beacon-cli';

export interface LoginOptions {
  readonly json: boolean;
  /** Its address is remembered too. */
  readonly broker?: string;
}

/** What the CA's page shows of who asks, so that a person knows their own machine; what a header may carry of it. */
function machineName(): string {
  return `beacon on ${hostname()
    .replace(/[^A-Za-z0-9.-]/g, '?')
    .slice(0, 64)} (${platform()})`;
}

/** Logs in at `url`, or at the CA of the configuration. */
export async function login(
  context: Context,
  url: string | undefined,
  options: LoginOptions,
): Promise<number> {
  requirePosix();
  const { terminal, place } = context;
  const asked = url ?? (await readConfiguration(place.configurationFile)).ca;
  if (asked === undefined) {
    throw usageError('which CA? Type beacon login https://… once; it is remembered');
  }
  const metadata = await discoverCa(parseServerUrl(asked));
  const broker = options.broker === undefined ? undefined : await findBroker(options.broker, metadata.issuer);
  const proofKey = generateProofKey();
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  try {
    const client = {
      metadata,
      clientId: CLIENT_ID,
      proofKey,
      resources: metadata.protectedResources,
      userAgent: machineName(),
      signal: stop.signal,
    };
    const started = await startDeviceLogin(client);
    terminal.talk(`Open this page on any machine:  ${started.verificationUri}`);
    terminal.talk(`and type this code:             ${started.userCode}`);
    if (started.verificationUriComplete !== undefined) {
      terminal.talk(`(or open ${started.verificationUriComplete} and compare the code)`);
    }
    terminal.talk(`Waiting for you there until ${formatTime(started.expiresAt)}; Ctrl-C stops.`);
    const tokens = await finishDeviceLogin(client, started);
    const file = openSessionFile(place.stateDirectory);
    const before = await openBefore(file);
    const { issuer, tokenEndpoint } = metadata;
    await file.replace(
      storedSession({ issuer, clientId: CLIENT_ID, tokenEndpoint, key: exportProofKey(proofKey) }, tokens),
    );
    await rememberAddress(place.configurationFile, 'ca', issuer);
    if (broker !== undefined) await rememberAddress(place.configurationFile, 'broker', broker.url);
    if (before !== undefined) await endQuietly(before);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
  return whoami(context, options);
}

/** Ends the session at the CA, which also deletes the GitHub token there, and forgets it here in any case. */
export async function logout(context: Context, options: LoginOptions): Promise<number> {
  requirePosix();
  const { terminal, place } = context;
  const file = openSessionFile(place.stateDirectory);
  let ended: PersonSession | undefined;
  try {
    const { api } = await openCa(context);
    const { session } = await api.whoami();
    await api.endSession(session.id);
    ended = session;
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    if (error.code === 'session-missing') terminal.talk('You were not logged in.');
    else if (error.kind === 'unauthenticated') terminal.talk('The session had ended already.');
    else {
      await forget(context, file);
      throw new ClientError(
        error.code,
        error.kind,
        `${error.message}. The login is forgotten here, but the CA could not be told: the session goes on there until its end`,
        { cause: error },
      );
    }
  }
  await forget(context, file);
  if (options.json) terminal.json({ ended: ended?.id ?? null });
  else if (ended !== undefined) terminal.out(`logged out ${ended.name} (${ended.person})`);
  return 0;
}

/** Says who the CA takes the caller for. */
export async function whoami(context: Context, options: LoginOptions): Promise<number> {
  const { api, credentials } = await openCa(context);
  const { session, service, memberships } = await api.whoami();
  if (options.json) {
    context.terminal.json({
      person: session.person,
      name: session.name,
      ca: credentials.issuer,
      session: session.id,
      service,
      started_at: session.startedAt,
      ends_at: session.endsAt,
      memberships: {
        read_at: memberships.readAt,
        organizations: memberships.organizations,
        teams: memberships.teams,
        unknown: memberships.unknown,
      },
    });
    return 0;
  }
  const { terminal } = context;
  terminal.out(
    `${session.name} (${session.person}) at ${credentials.issuer} until ${formatTime(session.endsAt)}`,
  );
  for (const { id, name, why } of memberships.unknown) {
    terminal.talk(`the CA does not know whether you belong to ${name ?? id}: ${why}`);
  }
  return 0;
}

async function forget(context: Context, file: SessionFile): Promise<void> {
  await removePersonalCertificates(context.place.stateDirectory);
  await file.remove();
}

/** The session that a new login replaces, if it can still be spoken for. */
async function openBefore(file: SessionFile): Promise<CaApi | undefined> {
  const stored = await file.read().catch(() => undefined);
  if (stored === undefined) return undefined;
  const frozen = { read: async () => stored, update: async () => stored };
  return createCaApi(await openSession(frozen));
}

/** Ends the replaced session; when that fails it ends by itself within hours. */
async function endQuietly(before: CaApi): Promise<void> {
  try {
    const { session } = await before.whoami();
    await before.endSession(session.id);
  } catch {
    // Its tokens are gone from this machine: nothing is left to do here.
  }
}
