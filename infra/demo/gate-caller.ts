/** A program that asks the CA for grants as one person, and uses them at a host's gate. */
import { type CaApi, type ObtainedCertificate, obtainCertificate } from '@beacon/client';
import { secretCommitment } from '@beacon/protocol/arguments-digest';
import type { GateEvent } from '@beacon/protocol/gate-event';
import type { Invocation } from '@beacon/protocol/gate-request';
import { generateKey, type KeyPair } from '@beacon/ssh/key';
import { createSigner } from '@beacon/ssh/signature';
import { GateConnection } from '../lab/gate-connection.ts';
import type { ManagedHost } from '../lab/managed-host.ts';
import type { Asked } from '../lab/throw-away-ca.ts';

/** A certificate with the key that it is for, as whoever asked for it holds it. */
export interface Held {
  readonly obtained: ObtainedCertificate;
  readonly key: KeyPair;
}

/** Where a gate is, and who is let in there. */
export type Door = Pick<ManagedHost, 'target' | 'login'>;

const LIFETIME_SECONDS = 120;

export class GateCaller<Host extends Door = Door> {
  readonly api: CaApi;
  readonly host: Host;
  readonly say: (text: string) => void;

  constructor(api: CaApi, host: Host, say: (text: string) => void) {
    this.api = api;
    this.host = host;
    this.say = say;
  }

  /** A certificate for these commands on the host, with a fresh key. */
  async ask(commands: readonly Asked[], lifetimeSeconds = LIFETIME_SECONDS): Promise<Held> {
    const key = generateKey('ssh-ed25519');
    const wish = {
      host: this.host.target.name,
      login: this.host.login,
      lifetimeSeconds,
      commands: commands.map(({ asked, undo }) => ({
        ...requestOf(asked),
        ...(undo === undefined ? {} : { undo: requestOf(undo) }),
      })),
    };
    const obtained = await obtainCertificate(this.api, wish, { signer: createSigner(key.privateKey) });
    return { obtained, key };
  }

  connect({ obtained, key }: Held, host: Door = this.host): Promise<GateConnection> {
    const { blob } = obtained.certificate;
    const { authorities } = obtained.host;
    return GateConnection.open(host.target, { blob, key }, { login: host.login, authorities });
  }

  async open(commands: readonly Asked[]): Promise<GateConnection> {
    return this.connect(await this.ask(commands));
  }

  /** Whether what came is a refusal with this code; its reason is said. */
  isRefused(event: GateEvent | undefined, code: string): boolean {
    if (event?.event !== 'refused') return false;
    this.say(`  gate: ${event.code}: ${event.reason}`);
    return event.code === code;
  }
}

/** What the CA is asked for: the exact parameters, and secret ones as commitments alone. */
export function requestOf({ command, params, salt, secrets }: Invocation) {
  const commitments = [...secrets].map(
    ([name, secret]) =>
      [name, secretCommitment(secret.salt, Buffer.from(secret.value)).toString('base64url')] as const,
  );
  return { command, params, salt: salt.toString('base64url'), commitments: Object.fromEntries(commitments) };
}
