/** A login by the device grant in which the cookie jar plays the person at the browser. */

import { Browser } from './browser.ts';
import type { Stage } from './stage.ts';

const CODE = /\b[A-Z]{4}-[A-Z]{4}\b/;

/** `beacon login` as a person would do it; resolves when the command has ended well. */
export async function logIn(stage: Stage, person: string): Promise<void> {
  const command = stage.start(person, ['login', stage.caUrl]);
  let talk = '';
  const ended = new Promise<number | null>((resolve) => command.on('close', resolve));
  await new Promise<void>((resolve, reject) => {
    command.stdout?.on('data', (data: Buffer) => (talk += data.toString()));
    command.stderr?.on('data', (data: Buffer) => {
      talk += data.toString();
      if (CODE.test(talk)) resolve();
    });
    command.on('close', () => reject(new Error(`beacon login ended before it showed a code:\n${talk}`)));
  });
  await approve(stage.caUrl, person, CODE.exec(talk)?.[0] ?? '');
  if ((await ended) !== 0) throw new Error(`beacon login failed:\n${talk}`);
}

/** What the person does: sign in at GitHub, type the code, look at who asks, say yes. */
export async function approve(caUrl: string, person: string, code: string): Promise<void> {
  const browser = new Browser();
  const gitHub = await browser.get(`${caUrl}/device`);
  const typing = await browser.submit(gitHub, { person });
  const looking = await browser.submit(typing, { user_code: code });
  const done = await browser.submit(looking, { confirm: 'yes' });
  if (done.status !== 200 || !done.html.includes('Signed in'))
    throw new Error(`the login was not finished:\n${done.html}`);
}
