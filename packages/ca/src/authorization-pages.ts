/**
 * The pages that a person sees at the CA: plain HTML with one style, no script, no image, no font and nothing from
 * elsewhere. Every value is escaped here and nowhere else; the content security policy names the style by its hash. What
 * a page says is decided by its caller.
 */
import { createHash } from 'node:crypto';

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

/** Who is signed in here, and the way out. */
function signedIn(loginName: string): Html {
  return html`<p class="small">Signed in at GitHub as <strong>${loginName}</strong>.</p>
<form method="post" action="/sign-out"><button>That is not me, or I did not want this</button></form>`;
}

export function deviceCodePage(view: {
  readonly loginName: string;
  readonly action: string;
  readonly xsrf: string;
  readonly problem?: string;
}): Page {
  return {
    title: 'Sign in a command line',
    body: html`<p>Type the code that your terminal shows. Never type one that somebody sent you.</p>
${view.problem === undefined ? [] : html`<p class="no">${view.problem}</p>`}
<form method="post" action="${view.action}"><input type="hidden" name="xsrf" value="${view.xsrf}">
<input type="text" name="user_code" maxlength="20" autocomplete="off" autocapitalize="characters" spellcheck="false" required autofocus aria-label="Code">
<button class="main">Continue</button></form>
${signedIn(view.loginName)}`,
  };
}

/** What a sign-in will be good for, in words. */
export type PurposeWords = readonly string[];

export function deviceConfirmPage(view: {
  readonly loginName: string;
  readonly action: string;
  readonly xsrf: string;
  readonly userCode: string;
  readonly clientName: string;
  readonly address: string;
  readonly askedAt: Date;
  readonly userAgent: string;
  readonly purposes: PurposeWords;
}): Page {
  const hidden = html`<input type="hidden" name="xsrf" value="${view.xsrf}"><input type="hidden" name="user_code" value="${view.userCode}">`;
  return {
    title: 'Is this you?',
    body: html`<p>Somebody started a sign-in and asks you to finish it as <strong>${view.loginName}</strong>:</p>
<dl><dt>Code</dt><dd><code>${view.userCode}</code></dd><dt>Program</dt><dd>${view.clientName}</dd>
<dt>From address</dt><dd>${view.address}</dd><dt>Begun</dt><dd>${view.askedAt.toISOString()}</dd>
<dt>Says it is</dt><dd>${view.userAgent}</dd></dl>
<p>It would be able to:</p><ul>${view.purposes.map((words) => html`<li>${words}</li>`)}</ul>
<p>If you did not just start this on your own machine, refuse: whoever did would act in your name.</p>
<form method="post" action="${view.action}">${hidden}<input type="hidden" name="confirm" value="yes"><button class="main">Yes, sign it in</button></form>
<form method="post" action="${view.action}">${hidden}<input type="hidden" name="abort" value="yes"><button autofocus>Refuse</button></form>
${signedIn(view.loginName)}`,
  };
}

export function consentPage(view: {
  readonly loginName: string;
  readonly action: string;
  readonly xsrf: string;
  readonly serviceName: string;
  readonly serviceId: string;
  readonly returnsTo: string;
  readonly purposes: PurposeWords;
  readonly hours: number;
}): Page {
  return {
    title: `Let ${view.serviceName} act for you?`,
    formTargets: [view.returnsTo],
    body: html`<p><strong>${view.serviceName}</strong> (<code>${view.serviceId}</code>) asks to act as <strong>${view.loginName}</strong>. It would be able to:</p>
<ul>${view.purposes.map((words) => html`<li>${words}</li>`)}</ul>
<p>This ends after ${view.hours} hours at the latest, and you can end it before. Afterwards you return to ${view.returnsTo}.</p>
<form method="post" action="${view.action}"><input type="hidden" name="xsrf" value="${view.xsrf}">
<button class="main" name="decision" value="allow">Allow</button><button name="decision" value="refuse">Refuse</button></form>
${signedIn(view.loginName)}`,
  };
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
