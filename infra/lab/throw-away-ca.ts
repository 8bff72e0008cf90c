/**
 * The keys of a whole CA that lives as long as a test: it signs the trust documents of a host and certificates with
 * grants, as the real one does, and also what the real one never would.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type Invocation, invocationDigest } from '@beacon/protocol/gate-request';
import { formatGrant, type Grant } from '@beacon/protocol/grant';
import { createId } from '@beacon/protocol/id';
import {
  formatTrustRoot,
  formatTrustStatus,
  TRUST_ROOT_NAMESPACE,
  TRUST_STATUS_NAMESPACE,
  type TrustRoot,
  type TrustStatus,
} from '@beacon/protocol/trust';
import {
  createSigner,
  createUserCa,
  encodeKrl,
  formatMessageSignature,
  formatPublicKeyLine,
  generateKey,
  type KeyPair,
  type Signer,
  signMessage,
  signUserCertificate,
  type UserCertificateFields,
} from '@beacon/ssh';

/** A command that is asked for, with what takes it back. */
export interface Asked {
  readonly asked: Invocation;
  readonly undo?: Invocation;
}

/** What is published otherwise than in order. */
export interface PublishOptions {
  readonly revoked?: readonly bigint[];
  readonly status?: Partial<TrustStatus>;
  readonly root?: Partial<TrustRoot>;
  readonly krl?: Buffer;
  readonly signStatusWith?: KeyPair;
  readonly signRootWith?: KeyPair;
}

/** What is certified otherwise than in order. */
export interface CertifyOptions {
  readonly grant?: Partial<Grant>;
  readonly fields?: Partial<UserCertificateFields>;
  readonly key?: KeyPair;
  readonly ca?: KeyPair;
  /** Signs in the place of any key of this CA's. */
  readonly signer?: Signer;
  readonly lifetimeSeconds?: number;
}

export interface Certified {
  readonly blob: Buffer;
  readonly grant: Grant;
  readonly serial: bigint;
  readonly key: KeyPair;
}

export interface HostNames {
  readonly host: string;
  readonly login: string;
}

export const PERSON = 'github:583231';

export class ThrowAwayCa {
  readonly userCa = generateKey('ssh-ed25519');
  readonly rootKey = generateKey('ssh-ed25519');
  readonly statusKey = generateKey('ssh-ed25519');
  readonly #names: HostNames;
  readonly #now: () => Date;
  /** A root is signed once and stays as it is; another content would need another version. */
  readonly #born: number;
  #serial = 1n;
  #statusVersion = 0;

  constructor(names: HostNames, now: () => Date) {
    this.#names = names;
    this.#now = now;
    this.#born = now().getTime();
  }

  /** The files of the next set of trust documents, by their names. */
  async publish(changes: PublishOptions = {}): Promise<Record<string, string | Buffer>> {
    const issued = this.#now();
    const root = formatTrustRoot({
      version: 1,
      issued: new Date(this.#born - 86_400_000),
      expires: new Date(this.#born + 300 * 86_400_000),
      hosts: '[a-z]+-[0-9]+',
      logins: [this.#names.login],
      userCa: [lineOf(this.userCa)],
      hostCa: [],
      statusKey: lineOf(this.statusKey),
      ...changes.root,
    });
    const krl = changes.krl ?? this.#revocationList(issued, changes.revoked ?? []);
    const status = formatTrustStatus({
      version: ++this.#statusVersion,
      rootVersion: 1,
      issued,
      expires: new Date(issued.getTime() + 86_400_000),
      krl: { sha256: createHash('sha256').update(krl).digest('hex'), bytes: krl.length },
      halt: [],
      ...changes.status,
    });
    return {
      'root.json': root,
      'root.json.sig': await sign(changes.signRootWith ?? this.rootKey, TRUST_ROOT_NAMESPACE, root),
      'status.json': status,
      'status.json.sig': await sign(changes.signStatusWith ?? this.statusKey, TRUST_STATUS_NAMESPACE, status),
      krl,
      'user_ca.pub': `${(changes.root?.userCa ?? [lineOf(this.userCa)]).join('\n')}\n`,
    };
  }

  /** A certificate whose grant names these commands. */
  async certify(commands: readonly Asked[], options: CertifyOptions = {}): Promise<Certified> {
    const { host, login } = this.#names;
    const now = this.#now();
    const grant: Grant = {
      grant: createId(now.getTime()),
      session: createHash('sha256').update('session').digest('base64url'),
      person: PERSON,
      service: 'portal',
      host,
      login,
      commands: commands.map(({ asked, undo }) => ({
        command: asked.command,
        digest: invocationDigest(asked),
        ...(undo === undefined ? {} : { undo: { command: undo.command, digest: invocationDigest(undo) } }),
      })),
      ...options.grant,
    };
    const key = options.key ?? generateKey('ssh-ed25519');
    const seconds = BigInt(Math.floor(now.getTime() / 1_000));
    const serial = options.fields?.serial ?? this.#serial++;
    const blob = await signUserCertificate(
      {
        publicKey: key.publicKey,
        serial,
        keyId: `beacon/${grant.grant}/${grant.person}`,
        principals: [`${login}@${host}`],
        validAfter: seconds - 60n,
        validBefore: seconds + BigInt(options.lifetimeSeconds ?? 600),
        criticalOptions: {},
        extensions: { 'grant@beacon': formatGrant(grant) },
        ...options.fields,
      },
      createUserCa(options.signer ?? createSigner((options.ca ?? this.userCa).privateKey)),
      randomBytes(32),
    );
    return { blob, grant, serial, key };
  }

  #revocationList(generated: Date, revoked: readonly bigint[]): Buffer {
    const serials = revoked.map((serial) => ({ first: serial, last: serial }));
    const authorities = [{ ca: this.userCa.publicKey, serials, keyIds: [] }];
    return encodeKrl({
      version: 1n,
      generated,
      comment: 'test',
      authorities: revoked.length === 0 ? [] : authorities,
    });
  }
}

/** What is asked, with salts that nobody else has. */
export function invocation(
  command: string,
  params: Readonly<Record<string, string>> = {},
  secrets: Readonly<Record<string, string>> = {},
): Invocation {
  const salted = Object.entries(secrets).map(
    ([name, value]) => [name, { salt: randomBytes(32), value }] as const,
  );
  return { command, params: JSON.stringify(params), salt: randomBytes(32), secrets: new Map(salted) };
}

export function lineOf(key: KeyPair): string {
  return formatPublicKeyLine(key.publicKey);
}

async function sign(key: KeyPair, namespace: string, text: string): Promise<string> {
  return formatMessageSignature(
    await signMessage(createSigner(key.privateKey), namespace, Buffer.from(text)),
  );
}
