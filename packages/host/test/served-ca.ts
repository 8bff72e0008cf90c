/**
 * A CA that a test holds in its hands: keys of its own, what it serves by path, and how it answers otherwise than in order.
 * Beside it the folder of a machine that asks it.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { handoverMessage, TRUST_HANDOVER_NAMESPACE } from '@beacon/protocol/trust-handover';
import { createSigner, formatMessageSignature, type KeyPair, signMessage } from '@beacon/ssh';
import { lineOf, type PublishOptions, ThrowAwayCa } from '../../../infra/lab/throw-away-ca.ts';
import { type Machine, openMachine, readTrustFolder, verifyTrust } from '../src/index.ts';
import { type SyncedTrust, syncTrust } from '../src/sync-trust.ts';

export const NOW = new Date('2026-11-22T12:00:00.000Z');
export const NAMES = { host: 'build-01', login: 'beacon' };

export class ServedCa {
  now = NOW;
  readonly folder = mkdtempSync(join(realpathSync(tmpdir()), 'beacon-sync-'));
  readonly machine: Machine = openMachine(this.folder);
  readonly ca = new ThrowAwayCa(NAMES, () => this.now);
  readonly rootKey = lineOf(this.ca.rootKey);
  /** What the server has, by path. */
  bodies: Record<string, Buffer> = {};
  /** Answers a path by itself, and says so. */
  instead: ((path: string, response: ServerResponse) => boolean) | undefined;
  asked: string[] = [];
  readonly #server: Server;

  private constructor() {
    mkdirSync(join(this.folder, 'etc/beacon/trust'), { recursive: true });
    mkdirSync(join(this.folder, 'var/lib'), { recursive: true });
    this.#server = createServer((request, response) => {
      const path = request.url ?? '';
      if (this.instead?.(path, response) === true) return;
      const body = this.bodies[path];
      if (body === undefined) {
        response.writeHead(404).end('{}');
        return;
      }
      const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
      const isKnown = request.headers['if-none-match'] === etag;
      this.asked.push(`${path} ${isKnown ? 304 : 200}`);
      response.writeHead(isKnown ? 304 : 200, { etag }).end(isKnown ? undefined : body);
    });
  }

  /** The machine has the first documents. */
  static async open(): Promise<ServedCa> {
    const served = new ServedCa();
    await new Promise<void>((resolve) => served.#server.listen(0, '127.0.0.1', resolve));
    await served.serve();
    await served.sync();
    return served;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Signs the next documents and serves them; a handover stands beside the root where `from` hands over. */
  async serve(changes: PublishOptions = {}, from?: KeyPair): Promise<void> {
    const files = await this.ca.publish(changes);
    const document = String(files['root.json']);
    const to = changes.signRootWith ?? this.ca.rootKey;
    const handover = from === undefined ? undefined : await signHandover(from, lineOf(to), document);
    const root = signed(document, String(files['root.json.sig']), handover);
    this.bodies = {
      ...this.bodies,
      '/v1/trust/root': root,
      [`/v1/trust/roots/${changes.root?.version ?? 1}`]: root,
      '/v1/trust/status': signed(String(files['status.json']), String(files['status.json.sig'])),
      '/v1/krl': Buffer.from(files['krl'] ?? ''),
    };
  }

  /** The same answers without a network between, where there are thousands. */
  readonly nearby: typeof globalThis.fetch = (url) =>
    Promise.resolve(new Response(new Uint8Array(this.bodies[new URL(String(url)).pathname] ?? [])));

  sync(timeoutMs = 5_000, fetch = globalThis.fetch): Promise<SyncedTrust> {
    const wish = { ...NAMES, rootKey: this.rootKey, pools: new Map(), ca: this.url };
    const outside = { fetch, now: () => this.now, timeoutMs };
    return syncTrust(this.machine, wish, { outside });
  }

  inForce(): string {
    return readlinkSync(join(this.folder, 'etc/beacon/trust/current'));
  }

  /** Throws unless what is in force is whole and verifies. */
  requireWhole(): void {
    const files = readTrustFolder(join(this.folder, 'etc/beacon/trust/current'));
    verifyTrust(files, { ...NAMES, rootKey: this.rootKey });
  }
}

export function signed(document: string, signature: string, handover?: string): Buffer {
  return Buffer.from(
    JSON.stringify({ document, signature, ...(handover === undefined ? {} : { handover }) }),
  );
}

export async function signHandover(by: KeyPair, to: string, document: string): Promise<string> {
  const message = handoverMessage(to, Buffer.from(document));
  return formatMessageSignature(
    await signMessage(createSigner(by.privateKey), TRUST_HANDOVER_NAMESPACE, message),
  );
}
