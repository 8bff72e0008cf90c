import { createHash } from 'node:crypto';
import { html, messagePage, pageHeaders, renderPage } from '@beacon/server';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { consentPage, deviceCodePage, deviceConfirmPage } from '../src/authorization-pages.ts';

const HOSTILE = `"><script>alert('x')</script>\`&`;
const pages = {
  code: deviceCodePage({ loginName: HOSTILE, action: '/device', xsrf: HOSTILE, problem: HOSTILE }),
  confirm: deviceConfirmPage({
    loginName: HOSTILE,
    action: '/device',
    xsrf: HOSTILE,
    userCode: HOSTILE,
    clientName: HOSTILE,
    address: HOSTILE,
    askedAt: new Date(0),
    userAgent: HOSTILE,
    purposes: [HOSTILE],
  }),
  consent: consentPage({
    loginName: HOSTILE,
    action: '/interaction/x',
    xsrf: HOSTILE,
    serviceName: HOSTILE,
    serviceId: HOSTILE,
    returnsTo: 'https://portal.example',
    purposes: [HOSTILE],
    hours: 8,
  }),
  message: messagePage(HOSTILE, HOSTILE, { href: '/device', label: HOSTILE }),
};

test.each(Object.entries(pages))(
  'the %s page escapes everything and asks nothing of elsewhere',
  (_name, page) => {
    const text = renderPage(page);
    expect(text).not.toContain('<script');
    expect(text).not.toMatch(/\s(on\w+|src|style)=/);
    expect(text).not.toMatch(/href="(?!\/)/);
    expect(text).not.toContain('@import');
  },
);

test.each(Object.entries(pages))(
  'the %s page goes out with headers that allow one style and nothing else',
  (name, page) => {
    const headers = pageHeaders(page);
    const style = /<style>([^<]*)<\/style>/.exec(renderPage(page))?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; form-action 'self'${name === 'consent' ? ' https://portal.example' : ''}; frame-ancestors 'none'; base-uri 'none'`,
    );
    expect(headers).toMatchObject({
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
      'x-frame-options': 'DENY',
    });
  },
);

test('no text becomes markup', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const { markup } = html`<b>${text}</b>`;
      expect(markup.slice(3, -4)).not.toMatch(/[<>"'`]/);
    }),
  );
});
