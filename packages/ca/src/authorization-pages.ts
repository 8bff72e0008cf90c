/**
 * What the CA's pages say to a person who signs in: the device's code, whether it is them, whether a service may act for
 * them. How a page is made is the server's.
 */
import { type Html, html, type Page } from '@beacon/server';

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
