/**
 * What a certificate or a decision is asked for, read beyond its shape: the key, the proof that the asker holds it, and
 * the digest of each command's arguments, which the CA always computes itself (DESIGN.md section 3.3).
 */
import {
  argumentsDigest,
  type CommandArguments,
  decode32,
  parseParams,
} from '@beacon/protocol/arguments-digest';
import type { GrantedCommand } from '@beacon/protocol/grant';
import type { CertificateRequest, CommandRequest } from '@beacon/protocol/http/certificates';
import { type PublicKey, parsePublicKeyLine, rsaBits } from '@beacon/ssh/public-key';
import { verifyMessageAside } from '@beacon/ssh/sshsig';
import type { Caller } from './access-token.ts';
import { CaError } from './error.ts';

/** The namespace of the proof of possession (PROTOCOL.sshsig). */
export const KEY_PROOF_NAMESPACE = 'certificate@beacon';
const MIN_RSA_BITS = 3072;

/** A command as policy sees it and as the grant names it. */
export interface AskedCommand {
  readonly command: string;
  readonly params: Readonly<Record<string, string>>;
  /** The names of the parameters that are committed to and not shown. */
  readonly secrets: readonly string[];
  readonly undo?: {
    readonly command: string;
    readonly params: Readonly<Record<string, string>>;
    readonly secrets: readonly string[];
  };
}

export interface ReadCommands {
  readonly asked: readonly AskedCommand[];
  readonly granted: readonly GrantedCommand[];
}

/** Throws CaError `arguments-malformed` naming the command. */
export function readCommands(commands: readonly CommandRequest[]): ReadCommands {
  const names = commands.map(({ command }) => command);
  const doubled = names.find((name, index) => names.indexOf(name) !== index);
  if (doubled !== undefined) {
    throw new CaError(
      'arguments-malformed',
      `the command ${doubled} is asked for twice: a grant starts each command once`,
    );
  }
  return {
    asked: commands.map((request) => ({
      ...seen(request),
      ...(request.undo === undefined ? {} : { undo: seen(request.undo) }),
    })),
    granted: commands.map((request) => ({
      command: request.command,
      digest: digestOf(request),
      ...(request.undo === undefined
        ? {}
        : { undo: { command: request.undo.command, digest: digestOf(request.undo) } }),
    })),
  };
}

type Arguments = Omit<CommandRequest, 'undo'>;

function seen(request: Arguments) {
  try {
    return {
      command: request.command,
      params: parseParams(request.params),
      secrets: Object.keys(request.commitments),
    };
  } catch (error) {
    throw malformed(request, error);
  }
}

function digestOf(request: Arguments): string {
  const commitments: Record<string, Uint8Array> = {};
  for (const [name, text] of Object.entries(request.commitments))
    commitments[name] = decode32(text) ?? Buffer.alloc(0);
  const input: CommandArguments = {
    command: request.command,
    salt: decode32(request.salt) ?? Buffer.alloc(0),
    params: request.params,
    commitments,
  };
  try {
    return argumentsDigest(input);
  } catch (error) {
    throw malformed(request, error);
  }
}

function malformed(request: Arguments, cause: unknown): CaError {
  const why = cause instanceof Error ? cause.message : 'malformed';
  return new CaError('arguments-malformed', `the arguments of ${request.command} cannot be read: ${why}`, {
    cause,
  });
}

/** The key to be certified. Throws CaError `public-key-malformed` or `public-key-refused`. */
export function readSubjectKey(line: string): PublicKey {
  let key: PublicKey;
  try {
    key = parsePublicKeyLine(line).key;
  } catch (error) {
    throw new CaError(
      'public-key-malformed',
      'public_key is not one OpenSSH public key line: send what ssh-keygen wrote into the .pub file',
      {
        cause: error,
      },
    );
  }
  if (key.type === 'ssh-rsa' && (rsaBits(key) ?? 0) < MIN_RSA_BITS) {
    throw new CaError(
      'public-key-refused',
      `an RSA key of ${rsaBits(key)} bits is refused: use ssh-keygen -t ed25519`,
    );
  }
  return key;
}

/**
 * The asker holds the private key: an SSHSIG by it over the exact body. Throws CaError `key-proof-missing` or
 * `key-proof-invalid`.
 */
export async function proveKey(caller: Caller, key: PublicKey, rawBody: Buffer): Promise<void> {
  const { keyProof } = caller.proof;
  if (keyProof === undefined) {
    throw new CaError(
      'key-proof-missing',
      'the DPoP proof has no key_proof: sign the body with the key to be certified',
    );
  }
  let signer: PublicKey | undefined;
  try {
    signer = await verifyMessageAside({
      signature: Buffer.from(keyProof, 'base64url'),
      namespace: KEY_PROOF_NAMESPACE,
      message: rawBody,
    });
  } catch (error) {
    throw new CaError(
      'key-proof-invalid',
      'key_proof is no signature of this body: sign the exact bytes that are sent',
      {
        cause: error,
      },
    );
  }
  if (!signer.blob.equals(key.blob)) {
    throw new CaError('key-proof-invalid', 'key_proof was made by another key than public_key');
  }
}

/** The parts of a certificate request that a decision looks at. */
export type DecidedRequest = Pick<CertificateRequest, 'host' | 'login' | 'lifetime_seconds'>;
