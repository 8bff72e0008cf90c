/**
 * A person's own key for `beacon ssh -i FILE`: opened from its file, or used where it lies, in the person's agent (and
 * through it in a hardware key). The passphrase is asked on the terminal alone, never taken from stdin, which belongs to
 * the remote command, nor from the environment. The key itself is shown to no host: our agent offers the certificate.
 */
import { constants, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { ReadStream, WriteStream } from 'node:tty';
import { createAgentSigner, listIdentities } from '@beacon/ssh/agent-client';
import { SshError } from '@beacon/ssh/error';
import { openPrivateKey } from '@beacon/ssh/key';
import { type PublicKey, parsePublicKeyLine } from '@beacon/ssh/public-key';
import type { Signer } from '@beacon/ssh/signature';
import { CliError } from './error.ts';
import { reason } from './private-file.ts';

const MAX_BYTES = 64 * 1024;
const PRIVATE_KEY = '-----BEGIN ';

/** The signer for `file`: a private key, or a public key whose private half the agent at `agentSocket` holds. */
export async function openOwnKey(file: string, agentSocket: string | undefined): Promise<Signer> {
  const text = await readKeyFile(file);
  if (!text.startsWith(PRIVATE_KEY)) return agentKey(file, text, agentSocket);
  try {
    return await openKeyFile(file, text);
  } catch (error) {
    if (error instanceof SshError && error.code === 'private-key-unsupported') {
      return agentKeyBeside(file, agentSocket, error);
    }
    throw error;
  }
}

async function openKeyFile(file: string, text: string): Promise<Signer> {
  try {
    return (await openPrivateKey(text)).signer;
  } catch (error) {
    if (!(error instanceof SshError) || error.code !== 'private-key-passphrase-missing') throw error;
  }
  return (await openPrivateKey(text, await askPassphrase(file))).signer;
}

/** A hardware key's file holds a handle only; its `.pub` beside it says which key of the agent is meant. */
async function agentKeyBeside(
  file: string,
  agentSocket: string | undefined,
  cause: SshError,
): Promise<Signer> {
  let text: string;
  try {
    text = await readKeyFile(`${file}.pub`);
  } catch {
    throw cause;
  }
  return agentKey(file, text, agentSocket);
}

async function agentKey(file: string, line: string, agentSocket: string | undefined): Promise<Signer> {
  const key: PublicKey = parsePublicKeyLine(line).key;
  if (agentSocket === undefined || agentSocket === '') {
    throw new CliError(
      'file-missing',
      'not-found',
      `${file}: no SSH agent runs that holds this key: start one, then ssh-add`,
    );
  }
  const held = await listIdentities(agentSocket);
  if (!held.some(({ blob }) => blob.equals(key.blob))) {
    throw new CliError(
      'file-missing',
      'not-found',
      `${file}: your SSH agent does not hold this key: add it with ssh-add`,
    );
  }
  return createAgentSigner(agentSocket, key);
}

async function readKeyFile(file: string): Promise<string> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const { size } = await handle.stat();
      if (size > MAX_BYTES) throw new CliError('file-malformed', 'invalid', `${file} is longer than any key`);
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError('file-unreadable', 'not-found', `${file} cannot be read: ${reason(error)}`, {
      cause: error,
    });
  }
}

async function askPassphrase(file: string): Promise<string> {
  const terminal = openTerminal(file);
  const { isCancel, password } = await import('@clack/prompts');
  try {
    const answer = await password({ message: `Passphrase of ${file}`, ...terminal });
    if (isCancel(answer)) throw new CliError('stopped', 'invalid', 'stopped: no passphrase was given');
    return answer ?? '';
  } finally {
    terminal.input.destroy();
    terminal.output.destroy();
  }
}

function openTerminal(file: string): { readonly input: ReadStream; readonly output: WriteStream } {
  try {
    return {
      input: new ReadStream(openSync('/dev/tty', 'r')),
      output: new WriteStream(openSync('/dev/tty', 'w')),
    };
  } catch (error) {
    throw new CliError(
      'no-terminal',
      'invalid',
      `${file} is protected and there is no terminal to ask for its passphrase: put the key into your agent with ssh-add, then -i ${file}.pub`,
      { cause: error },
    );
  }
}
