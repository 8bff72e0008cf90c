/** What the requests to our servers are made of, and what their answers are read with. */
import { Buffer } from 'node:buffer';
import { Answer } from './answer.ts';
import { ClientError } from './error.ts';
import type { HttpAnswer } from './exchange.ts';

/** A message's body: these exact bytes are hashed and sent. */
export function json(message: object): Buffer<ArrayBuffer> {
  return Buffer.from(JSON.stringify({ v: 1, ...message }));
}

/** What an answer says; `place` names it in refusals. */
export function read(answer: HttpAnswer, place: string): Answer {
  return Answer.read(answer.body, place);
}

/** With its question mark; nothing without parameters. */
export function queryOf(parameters: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams(parameters).toString();
  return query === '' ? '' : `?${query}`;
}

/** A name in a path. One that would leave its place is refused, not encoded away. */
export function segment(text: string): string {
  if (!/^[A-Za-z0-9:._-]+$/.test(text) || /^[.]+$/.test(text)) {
    throw new ClientError(
      'name-malformed',
      'invalid',
      `${JSON.stringify(text.slice(0, 80))} is no name that the server knows`,
    );
  }
  return text;
}
