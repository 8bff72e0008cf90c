/**
 * The reviewed file of services, `services.yaml`: which may act for people, by which public keys, and what they may do.
 * Decides nothing: that is in `services.ts`.
 */
import { readConfiguration } from '@beacon/server';
import { isSourceAddressList } from '@beacon/ssh/source-address';
import { z } from 'zod';
import { CaError } from './error.ts';
import { COMMAND_LINE_CLIENT } from './oauth-client.ts';

const jwk = z.union([
  z.strictObject({
    kty: z.literal('OKP'),
    crv: z.literal('Ed25519'),
    x: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    kid: z.string().min(1).max(64),
    alg: z.literal('EdDSA').optional(),
    use: z.literal('sig').optional(),
  }),
  z.strictObject({
    kty: z.literal('EC'),
    crv: z.literal('P-256'),
    x: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    y: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    kid: z.string().min(1).max(64),
    alg: z.literal('ES256').optional(),
    use: z.literal('sig').optional(),
  }),
]);

const service = z.strictObject({
  name: z.string().min(1).max(80).describe('shown to people when they are asked to consent'),
  keys: z.array(jwk).min(1).max(4).describe('public keys that prove the service (private_key_jwt)'),
  redirect_uris: z
    .array(z.url())
    .max(8)
    .default([])
    .describe('where people return after signing in (code + PKCE)'),
  may: z
    .array(z.enum(['login', 'exchange', 'run-certificates', 'personal-certificates', 'github-token']))
    .describe(
      "what it may do: begin logins, exchange tokens made for it, ask for the two kinds of certificate, be given a person's GitHub token for a run",
    ),
  source_addresses: z
    .array(
      z
        .string()
        .refine(
          (text) => !text.includes(',') && isSourceAddressList(text),
          'an address or a network without bits behind its mask was expected, such as 192.0.2.10 or 192.0.2.0/24',
        ),
    )
    .max(16)
    .default([])
    .describe('where it connects to hosts from; its run certificates work from there alone'),
});

export const servicesFile = z.strictObject({
  version: z.literal(1),
  services: z.record(z.string().regex(/^[a-z][a-z0-9-]{0,62}$/), service),
});

export interface Service extends z.infer<typeof service> {
  readonly id: string;
}

/** The reviewed list of services, by id. Throws ServerError `configuration`, CaError `services` for a private key in it. */
export function readServices(file: string): ReadonlyMap<string, Service> {
  const { services } = readPublicServices(file);
  if (Object.hasOwn(services, COMMAND_LINE_CLIENT))
    throw new CaError(
      'services',
      `${file}: ${COMMAND_LINE_CLIENT} is the command line itself and stands in no file: give the service another id`,
    );
  return new Map(Object.entries(services).map(([id, entry]) => [id, { id, ...entry }]));
}

/** The member of a JWK that is the private key. */
const PRIVATE_MEMBER = /^(.*keys\[\d+\]\.d): unknown key "d".*$/m;

function readPublicServices(file: string): z.infer<typeof servicesFile> {
  try {
    return readConfiguration(file, servicesFile);
  } catch (error) {
    const [, place] = PRIVATE_MEMBER.exec(error instanceof Error ? error.message : '') ?? [];
    if (place === undefined) throw error;
    throw new CaError(
      'services',
      `${place}: this is the private key of the service, and whoever reads this file has it now: throw that key away, make another with \`beacon ca service key\`, and paste only the entry that it prints`,
      { cause: error },
    );
  }
}
