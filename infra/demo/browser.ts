/** A browser reduced to what a login needs: a cookie jar, redirects, and forms that are filled in and sent. */

interface Page {
  readonly url: string;
  readonly status: number;
  readonly html: string;
}

export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>();

  get(url: string): Promise<Page> {
    return this.#follow(url, { method: 'GET' });
  }

  /** Sends the page's form whose action or fields include `field`, with these values over what the page filled in. */
  submit(page: Page, values: Readonly<Record<string, string>>): Promise<Page> {
    const form =
      forms(page.html).find((one) => Object.keys(values).every((name) => name in one.fields)) ??
      forms(page.html)[0];
    if (form === undefined) throw new Error(`there is no form on ${page.url}:\n${page.html}`);
    const body = new URLSearchParams({ ...form.fields, ...values }).toString();
    return this.#follow(new URL(form.action === '' ? page.url : form.action, page.url).href, {
      method: 'POST',
      body,
    });
  }

  /** The cookies that this browser would send to an origin. */
  cookies(url: string): ReadonlyMap<string, string> {
    return this.#cookies.get(new URL(url).origin) ?? new Map();
  }

  async #follow(start: string, init: { method: string; body?: string }): Promise<Page> {
    let url = start;
    let { method, body } = init;
    for (let i = 0; i < 20; i++) {
      const { origin } = new URL(url);
      const cookie = [...this.cookies(url)].map(([name, value]) => `${name}=${value}`).join('; ');
      const response = await fetch(url, {
        method,
        redirect: 'manual',
        headers: {
          accept: 'text/html',
          'user-agent': 'a browser',
          ...(cookie === '' ? {} : { cookie }),
          ...(method === 'POST' ? { 'content-type': 'application/x-www-form-urlencoded', origin } : {}),
        },
        ...(body === undefined ? {} : { body }),
      });
      this.#keep(origin, response.headers.getSetCookie());
      const location = response.headers.get('location');
      const html = await response.text();
      if (response.status < 300 || response.status >= 400 || location === null)
        return { url, status: response.status, html };
      url = new URL(location, url).href;
      method = 'GET';
      body = undefined;
    }
    throw new Error(`too many redirects from ${start}`);
  }

  #keep(origin: string, lines: readonly string[]): void {
    const jar = this.#cookies.get(origin) ?? new Map<string, string>();
    for (const line of lines) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (name === undefined || value === undefined) continue;
      const over = /;\s*max-age=0/i.test(line) || /;\s*expires=Thu, 01 Jan 1970/i.test(line);
      if (over || value === '') jar.delete(name);
      else jar.set(name, value);
    }
    this.#cookies.set(origin, jar);
  }
}

/** Every form of a page with the values that it came with; of several submit buttons none. */
function forms(html: string): { action: string; fields: Record<string, string> }[] {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/g)].map(([, attributes = '', content = '']) => {
    const fields: Record<string, string> = {};
    for (const [, input = ''] of content.matchAll(/<(?:input|button|select)\b([^>]*)>/g)) {
      const name = attribute(input, 'name');
      if (name !== undefined) fields[name] = attribute(input, 'value') ?? '';
    }
    return { action: attribute(attributes, 'action') ?? '', fields };
  });
}

function attribute(text: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(text)?.[1];
  return value
    ?.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)))
    .replace(/&amp;/g, '&')
    .replace(/&quot;/g, '"');
}
