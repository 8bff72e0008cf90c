/**
 * The load generator, a process of its own. It makes its requests, says that it is ready, and when it is told to go sends
 * them over keep-alive connections, each connection one request after the other: bytes that are ready go out, and of the
 * answer it reads the status and the length, so that it takes as little as it can of the two cores that it shares.
 */
import { connect, type Socket } from 'node:net';
import { PATH, type PreparedRequest, prepareRequests } from './prepared-request.ts';
import type { Login } from './served-ca.ts';

/** What the parent asks for. */
export interface LoadOrder {
  readonly url: string;
  readonly logins: readonly Login[];
  readonly connections: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  /** How many requests to make; the run ends when they are used up, if that is sooner. */
  readonly requests: number;
}

/** What a run came to. Times in milliseconds, from the first byte sent to the last byte received. */
export interface LoadResult {
  readonly per_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
  /** Certificates that were answered, those of the warm-up among them. */
  readonly certificates: number;
  /** How long was measured, in seconds: less than was asked for when the requests did not last. */
  readonly seconds: number;
}

process.once('message', (order: LoadOrder) => {
  run(order).then(
    (result) => process.send?.({ result }, () => process.exit(0)),
    (error: unknown) => process.send?.({ error: String(error) }, () => process.exit(1)),
  );
});

async function run(order: LoadOrder): Promise<LoadResult> {
  const requests = await prepareRequests(order.url, order.logins, order.requests);
  const bytes = requests.map((request) => toBytes(order.url, request));
  const go = new Promise<void>((resolve) => process.once('message', () => resolve()));
  process.send?.({ ready: true });
  await go;

  let next = 0;
  let certificates = 0;
  const latencies: number[] = [];
  const begin = performance.now();
  const from = begin + order.warmSeconds * 1000;
  const until = from + order.seconds * 1000;
  let last = from;
  const work = async (socket: Connection) => {
    while (next < bytes.length && performance.now() < until) {
      const request = bytes[next++];
      if (request === undefined) return;
      const start = performance.now();
      const answer = await socket.ask(request);
      const end = performance.now();
      if (!answer.startsWith('HTTP/1.1 201 ')) throw new Error(`the CA answered: ${answer}`);
      certificates++;
      if (start < from || end > until) continue;
      latencies.push(end - start);
      last = end;
    }
  };
  const sockets = await Promise.all(
    Array.from({ length: order.connections }, () => Connection.open(order.url)),
  );
  await Promise.all(sockets.map(work));
  for (const socket of sockets) socket.close();
  latencies.sort((a, b) => a - b);
  const at = (part: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))];
  const seconds = (next < bytes.length ? until - from : last - from) / 1000;
  return {
    per_s: latencies.length / seconds,
    p50_ms: at(0.5) ?? 0,
    p99_ms: at(0.99) ?? 0,
    certificates,
    seconds,
  };
}

function toBytes(url: string, { accessToken, proof, body }: PreparedRequest): Buffer {
  const head = [
    `POST ${PATH} HTTP/1.1`,
    `host: ${new URL(url).host}`,
    `authorization: DPoP ${accessToken}`,
    `dpop: ${proof}`,
    'content-type: application/json',
    `content-length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]);
}

/** One keep-alive connection with one request under way at a time. */
class Connection {
  readonly #socket: Socket;
  #received = '';
  #settle: { resolve: (answer: string) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.setNoDelay(true);
    socket.on('data', (text: string) => this.#take(text));
    socket.on('error', (error) => this.#settle?.reject(error));
    socket.on('close', () => this.#settle?.reject(new Error('the CA closed the connection')));
  }

  static open(url: string): Promise<Connection> {
    const { hostname, port } = new URL(url);
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      socket.once('error', reject);
      socket.once('connect', () => resolve(new Connection(socket)));
    });
  }

  /** The whole answer to a request. */
  ask(request: Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket.write(request);
    });
  }

  #take(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf('\r\n\r\n');
    if (end === -1) return;
    const length = Number(/content-length: (\d+)/i.exec(this.#received.slice(0, end))?.[1] ?? 0);
    if (this.#received.length < end + 4 + length) return;
    const answer = this.#received;
    this.#received = '';
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.resolve(answer);
  }

  close(): void {
    this.#settle = undefined;
    this.#socket.end();
  }
}
