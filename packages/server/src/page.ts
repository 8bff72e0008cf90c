/**
 * The pages that a person sees at a Beacon server: plain HTML with one style, no script, no image, no font and nothing from
 * elsewhere. Every value is escaped here and nowhere else; the content security policy names the style by its hash. What
 * a page says is decided by its caller.
 */
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';

/** Text that is HTML already. Made by {@link html} alone. */
export interface Html {
  readonly markup: string;
}

type Part = string | number | Html | readonly Html[];

/** Builds HTML; every substitution that is not HTML itself is escaped. */
export function html(parts: TemplateStringsArray, ...values: readonly Part[]): Html {
  const pieces = parts.map((part, index) => (index === 0 ? part : markupOf(values[index - 1] ?? '') + part));
  return { markup: pieces.join('') };
}

function markupOf(value: Part): string {
  if (typeof value === 'string') return escapeHtml(value);
  if (typeof value === 'number') return String(value);
  return 'markup' in value ? value.markup : value.map(({ markup }) => markup).join('');
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`);
}

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1f2328;background:#fff}' +
  'h1{font-size:1.5rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem}dt{color:#59636e}' +
  'dd{margin:0;overflow-wrap:anywhere}input[type=text]{font:1.4rem ui-monospace,monospace;width:12ch;padding:.3rem;' +
  'text-transform:uppercase}button{font:inherit;padding:.4rem 1rem;margin:.5rem .5rem .5rem 0;cursor:pointer}' +
  '.main{font-weight:600}.no{color:#b3261e}code{font:1.2rem ui-monospace,monospace}.small{color:#59636e;font-size:.9rem}';
const STYLE_HASH = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;

export interface Page {
  readonly title: string;
  readonly body: Html;
  /** Origins besides ours that a form on this page may end up at by redirection. */
  readonly formTargets?: readonly string[];
}

/** The headers of every page, errors included. */
export function pageHeaders(page: Page): Record<string, string> {
  const targets = ["'self'", ...(page.formTargets ?? [])].join(' ');
  return {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': `default-src 'none'; style-src ${STYLE_HASH}; form-action ${targets}; frame-ancestors 'none'; base-uri 'none'`,
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  };
}

export function renderPage({ title, body }: Page): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title} · Beacon</title>
<style>${{ markup: STYLE }}</style></head><body><main><h1>${title}</h1>
${body}
</main></body></html>
`.markup;
}

/** A page that says one thing; `again` is a path of ours to start over. */
export function messagePage(
  title: string,
  text: string,
  again?: { readonly href: string; readonly label: string },
): Page {
  return {
    title,
    body: html`<p>${text}</p>${again === undefined ? [] : html`<p><a href="${again.href}">${again.label}</a></p>`}`,
  };
}

/** Answers with a page. */
export function sendPage(response: ServerResponse, status: number, page: Page): void {
  response.writeHead(status, pageHeaders(page)).end(renderPage(page));
}
