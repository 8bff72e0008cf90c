/**
 * Asking an SSH agent (draft-ietf-sshm-ssh-agent) what it holds and for signatures: one connection, one question, one answer, within a
 * time. Nothing is ever added to an agent from here.
 */
import type { Buffer } from 'node:buffer';
import { createConnection } from 'node:net';
import {
  type AgentRequest,
  type AgentResponse,
  decodeAgentResponse,
  encodeAgentRequest,
  FLAG_RSA_SHA2_256,
  FLAG_RSA_SHA2_512,
  FrameCollector,
  type ListedIdentity,
} from './agent-message.ts';
import { SshError } from './error.ts';
import { fingerprint, type PublicKey } from './public-key.ts';
import { type Signer, verifySignature } from './signature.ts';

export interface AgentClientOptions {
  /** How long the answer may take: 5 s for a list; 60 s for a signature, since a person may have to touch a key. */
  readonly timeoutMs?: number;
}

const LIST_TIMEOUT_MS = 5_000;
const SIGN_TIMEOUT_MS = 60_000;

/**
 * What the agent at a socket holds, in its own order; blobs may be of types that this package does not know.
 * @throws SshError `agent-unavailable`, `agent-refused`, `agent-malformed` or `wire-…`
 */
export async function listIdentities(
  socketPath: string,
  { timeoutMs = LIST_TIMEOUT_MS }: AgentClientOptions = {},
): Promise<readonly ListedIdentity[]> {
  const response = await ask(socketPath, { kind: 'request-identities' }, timeoutMs);
  if (response.kind !== 'identities') {
    throw refused('list its identities');
  }
  return response.identities;
}

/**
 * The signature blob that the agent makes with the key or certificate `blob`; flags choose an RSA key's hash. It is not verified here.
 * @throws SshError `agent-unavailable`, `agent-refused`, `agent-malformed` or `wire-…`
 */
export async function signWithAgent(
  socketPath: string,
  blob: Buffer,
  data: Buffer,
  flags: number,
  { timeoutMs = SIGN_TIMEOUT_MS }: AgentClientOptions = {},
): Promise<Buffer> {
  const response = await ask(socketPath, { kind: 'sign', blob, data, flags }, timeoutMs);
  if (response.kind !== 'signature') {
    throw refused('sign with this key');
  }
  return response.signature;
}

/** A signer that can also say whether its key can be reached now. */
export interface AgentSigner extends Signer {
  /** Throws `agent-refused` when the agent does not hold the key. */
  ready(): Promise<void>;
}

/**
 * A signer whose key stays in the agent; what the agent answers is verified before it is handed on. Its `sign` throws
 * SshError `agent-…` or `wire-…`, and `signature-…` for a signature that does not verify.
 */
export function createAgentSigner(
  socketPath: string,
  publicKey: PublicKey,
  options: AgentClientOptions = {},
): AgentSigner {
  return {
    publicKey,
    async sign(data, algorithm = 'rsa-sha2-512') {
      const rsaFlag = algorithm === 'rsa-sha2-256' ? FLAG_RSA_SHA2_256 : FLAG_RSA_SHA2_512;
      const flags = publicKey.type === 'ssh-rsa' ? rsaFlag : 0;
      const signature = await signWithAgent(socketPath, publicKey.blob, data, flags, options);
      verifySignature(publicKey, data, signature);
      return signature;
    },
    async ready() {
      const held = await listIdentities(socketPath);
      if (held.some(({ blob }) => blob.equals(publicKey.blob))) return;
      throw new SshError(
        'agent-refused',
        `the SSH agent at ${socketPath} does not hold ${fingerprint(publicKey)}; add it with ssh-add and see ssh-add -l`,
      );
    },
  };
}

async function ask(
  socketPath: string,
  request: Exclude<AgentRequest, { kind: 'unsupported' }>,
  timeoutMs: number,
): Promise<AgentResponse> {
  const frame = encodeAgentRequest(request);
  const message = await new Promise<Buffer>((resolve, reject) => {
    const frames = new FrameCollector();
    const socket = createConnection(socketPath);
    const timer = setTimeout(() => {
      fail(new SshError('agent-unavailable', `the SSH agent has not answered within ${timeoutMs} ms`));
    }, timeoutMs);
    const fail = (error: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    socket.on('connect', () => socket.write(frame));
    socket.on('error', (cause) => {
      fail(
        new SshError('agent-unavailable', `no SSH agent answers at ${socketPath}; check SSH_AUTH_SOCK`, {
          cause,
        }),
      );
    });
    socket.on('close', () => {
      fail(new SshError('agent-unavailable', 'the SSH agent has hung up before its answer'));
    });
    socket.on('data', (chunk) => {
      try {
        const [first, ...more] = frames.push(chunk);
        if (first === undefined) {
          return;
        }
        if (more.length > 0 || frames.isPending) {
          throw new SshError('agent-malformed', 'agent: it has said more than was asked');
        }
        clearTimeout(timer);
        socket.destroy();
        resolve(first);
      } catch (error) {
        fail(error);
      }
    });
  });
  return decodeAgentResponse(message);
}

function refused(what: string): SshError {
  return new SshError(
    'agent-refused',
    `the SSH agent has refused to ${what}; see what it holds with ssh-add -l`,
  );
}
