/** A person at the broker's portal: logged in through the real web flow, then asking as the portal's own page would. */
import { randomUUID } from 'node:crypto';
import { Browser } from './browser.ts';

export interface StreamedEvent {
  readonly seq: number;
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface PortalAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export class PortalCaller {
  readonly url: string;
  /** What the first page says once the person is logged in. */
  readonly page: string;
  readonly #browser: Browser;

  private constructor(url: string, browser: Browser, page: string) {
    this.url = url;
    this.#browser = browser;
    this.page = page;
  }

  /** Broker, CA, GitHub, the CA's question whether the broker may act for the person, and back. */
  static async logIn(url: string, person: string): Promise<PortalCaller> {
    const browser = new Browser();
    const gitHub = await browser.get(`${url}/login`);
    const consent = await browser.submit(gitHub, { person });
    const back = await browser.submit(consent, { decision: 'allow' });
    if (back.status !== 200) throw new Error(`the login ended with ${back.status}:\n${back.html}`);
    return new PortalCaller(url, browser, (await browser.get(`${url}/`)).html);
  }

  get cookie(): string {
    return [...this.#browser.cookies(this.url)].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  async get(path: string): Promise<PortalAnswer> {
    return read(await fetch(`${this.url}${path}`, { headers: { cookie: this.cookie } }));
  }

  async post(path: string, body: object, key: string = randomUUID()): Promise<PortalAnswer> {
    const headers = {
      ...{ cookie: this.cookie, origin: this.url, 'x-beacon-csrf': '1' },
      ...{ 'content-type': 'application/json', 'idempotency-key': key },
    };
    return read(await fetch(`${this.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) }));
  }

  /** The events of a run, from the first until it is over. */
  async *events(id: string): AsyncGenerator<StreamedEvent> {
    const answer = await fetch(`${this.url}/api/runs/${id}/events`, { headers: { cookie: this.cookie } });
    if (answer.body === null || answer.status !== 200)
      throw new Error(`the events ended with ${answer.status}`);
    let text = '';
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + part).split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = new Map(
          block.split('\n').map((line) => [line.split(':', 1).join(''), line.replace(/^[a-z]*: ?/, '')]),
        );
        const data = fields.get('data');
        if (data === undefined) continue;
        yield {
          seq: Number(fields.get('id')),
          kind: fields.get('event') ?? '',
          data: JSON.parse(data) as Record<string, unknown>,
        };
      }
    }
  }
}

async function read(answer: Response): Promise<PortalAnswer> {
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
