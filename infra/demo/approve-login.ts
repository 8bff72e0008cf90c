/** What a person does in the browser while their terminal waits (RFC 8628): sign in at GitHub, type the code, say yes. */
import { Browser } from './browser.ts';

/** Throws with the page that it ended on when the terminal is not signed in then. */
export async function approveLogin(
  begun: { readonly verificationUri: string; readonly userCode: string },
  person: string,
): Promise<void> {
  const { origin } = new URL(begun.verificationUri);
  const browser = new Browser();
  let page = await browser.get(begun.verificationUri);
  for (let steps = 0; steps < 8 && !page.html.includes('Your terminal is signed in'); steps += 1) {
    if (!page.url.startsWith(origin)) page = await browser.submit(page, { person });
    else if (/name="confirm"/.test(page.html)) page = await browser.submit(page, { confirm: 'yes' });
    else page = await browser.submit(page, { user_code: begun.userCode });
  }
  if (!page.html.includes('Your terminal is signed in')) throw new Error(`${page.status} ${page.html}`);
}
