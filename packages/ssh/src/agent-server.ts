/**
 * An SSH agent inside this process (draft-ietf-sshm-ssh-agent, OpenSSH's PROTOCOL.agent section 1), on a unix socket in a fresh directory
 * that only its owner enters: the private key touches no disk, and ssh finds it by `IdentityAgent`. It lists and signs with the few
 * identities it was opened with, and does nothing else: nothing can be added, removed or locked. It refuses to serve connections that ssh
 * says it forwards to another machine.
 */
import { Buffer } from 'node:buffer';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AgentRequest,
  type AgentResponse,
  decodeAgentRequest,
  encodeAgentResponse,
  FLAG_RSA_SHA2_256,
  FLAG_RSA_SHA2_512,
  FrameCollector,
  type ListedIdentity,
} from './agent-message.ts';
import { SshError } from './error.ts';
import type { RsaAlgorithm, Signer } from './signature.ts';
import { Reader } from './wire.ts';

/** What ssh may use: a plain key's blob or a certificate's, and who signs for it. */
export interface AgentIdentity extends ListedIdentity {
  readonly signer: Signer;
}

export interface OpenAgentOptions {
  readonly identities: readonly AgentIdentity[];
  /** Where the agent's own directory is made; the system's directory for temporary files unless given. */
  readonly directory?: string;
}

export interface Agent {
  readonly socketPath: string;
  /** Ends all connections and removes socket and directory. May be called again. */
  close(): Promise<void>;
}

const MAX_CONNECTIONS = 16;
/** What macOS allows, less than Linux: a longer path would be cut or refused by ssh. */
const MAX_SOCKET_PATH_BYTES = 103;
const KNOWN_FLAGS = FLAG_RSA_SHA2_256 | FLAG_RSA_SHA2_512;
const SESSION_BIND = 'session-bind@openssh.com';

/**
 * Opens an agent. Its directory goes with `close`, and at the latest when the process exits; who ends a process by a signal closes first.
 * @throws SshError `agent-unavailable` when the socket cannot be made.
 */
export async function openAgent({ identities, directory = tmpdir() }: OpenAgentOptions): Promise<Agent> {
  const home = makeDirectory(directory);
  removeAtExit(home);
  const connections = new Set<Socket>();
  const server = createServer((socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    serve(socket, [...identities]);
  });
  server.maxConnections = MAX_CONNECTIONS;
  const close = async (): Promise<void> => {
    for (const socket of connections) {
      socket.destroy();
    }
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    rmSync(home, { recursive: true, force: true });
    homes.delete(home);
  };
  const socketPath = join(home, 'agent.sock');
  try {
    await listen(server, socketPath);
  } catch (error) {
    await close();
    throw unavailable(error);
  }
  return { socketPath, close };
}

/** Answers one connection's requests one after another, in the order they came; ends it at the first that has no form. */
function serve(socket: Socket, identities: readonly AgentIdentity[]): void {
  const frames = new FrameCollector();
  const connection: Connection = { identities, isForwarded: false };
  let last: Promise<void> = Promise.resolve();
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    let messages: Buffer[];
    try {
      messages = frames.push(chunk);
    } catch {
      socket.destroy();
      return;
    }
    // Reading waits until all of these are answered, so a sender cannot pile up requests.
    socket.pause();
    last = last
      .then(async () => {
        for (const message of messages) {
          const response = encodeAgentResponse(await answer(connection, decodeAgentRequest(message)));
          if (!socket.destroyed) {
            socket.write(response);
          }
        }
        socket.resume();
      })
      .catch(() => {
        socket.destroy();
      });
  });
}

interface Connection {
  readonly identities: readonly AgentIdentity[];
  isForwarded: boolean;
}

async function answer(connection: Connection, request: AgentRequest): Promise<AgentResponse> {
  if (connection.isForwarded) {
    return { kind: 'failure' };
  }
  switch (request.kind) {
    case 'request-identities':
      return { kind: 'identities', identities: connection.identities };
    case 'sign':
      return answerSign(connection.identities, request);
    case 'extension':
      return request.name === SESSION_BIND ? answerBind(connection, request.content) : { kind: 'failure' };
    case 'unsupported':
      return { kind: 'failure' };
  }
}

async function answerSign(
  identities: readonly AgentIdentity[],
  { blob, data, flags }: Extract<AgentRequest, { kind: 'sign' }>,
): Promise<AgentResponse> {
  const identity = identities.find((candidate) => candidate.blob.equals(blob));
  if (identity === undefined || (flags & ~KNOWN_FLAGS) !== 0) {
    return { kind: 'failure' };
  }
  try {
    const { signer } = identity;
    if (signer.publicKey.type !== 'ssh-rsa') {
      return { kind: 'signature', signature: await signer.sign(data) };
    }
    const algorithm = rsaAlgorithm(flags);
    return algorithm === undefined
      ? { kind: 'failure' }
      : { kind: 'signature', signature: await signer.sign(data, algorithm) };
  } catch {
    return { kind: 'failure' };
  }
}

/** Without a flag SHA-1 is meant, which nobody gets here. */
function rsaAlgorithm(flags: number): RsaAlgorithm | undefined {
  switch (flags) {
    case FLAG_RSA_SHA2_256:
      return 'rsa-sha2-256';
    case FLAG_RSA_SHA2_512:
      return 'rsa-sha2-512';
    default:
      return undefined;
  }
}

/**
 * PROTOCOL.agent section 1: string host key, string session id, string signature, bool forwarding. ssh says so before it asks for
 * anything. No identity here is bound to a destination, so the binding itself is only read; a forwarded connection is never served.
 */
function answerBind(connection: Connection, content: Buffer): AgentResponse {
  const reader = new Reader(content, 'session binding');
  for (const field of ['host key', 'session id', 'signature']) {
    reader.string(field);
  }
  connection.isForwarded = reader.boolean('forwarding');
  reader.end();
  return { kind: connection.isForwarded ? 'failure' : 'success' };
}

/** The directories of all agents that are open here; one listener for all, however many there are. */
const homes = new Set<string>();
let isListening = false;

function removeAtExit(home: string): void {
  homes.add(home);
  if (isListening) return;
  isListening = true;
  process.once('exit', () => {
    for (const one of homes) rmSync(one, { recursive: true, force: true });
  });
}

function makeDirectory(parent: string): string {
  let home: string;
  try {
    home = mkdtempSync(join(parent, 'beacon-agent-'));
  } catch (error) {
    throw unavailable(error);
  }
  if (Buffer.byteLength(join(home, 'agent.sock')) > MAX_SOCKET_PATH_BYTES) {
    rmSync(home, { recursive: true, force: true });
    throw new SshError(
      'agent-unavailable',
      `the path of the agent's socket would be longer than ${MAX_SOCKET_PATH_BYTES} bytes; set TMPDIR to a shorter directory`,
    );
  }
  return home;
}

async function listen(server: Server, socketPath: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      server.off('error', reject);
      resolve();
    });
  });
  chmodSync(socketPath, 0o600);
}

function unavailable(cause: unknown): SshError {
  return new SshError(
    'agent-unavailable',
    'the socket of the agent cannot be made; check the temporary directory',
    {
      cause,
    },
  );
}
