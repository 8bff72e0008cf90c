/** `POST /v1/certificates`, `POST /v1/decisions`, `GET /v1/certificates[/{serial}]` (DESIGN.md sections 3.3 and 4). */
import { z } from 'zod';
import {
  bytes32,
  command,
  hostId,
  id,
  limit,
  login,
  parameter,
  person,
  publicKeyLine,
  recordReference,
  serial,
  service,
  time,
} from './name.ts';

/** The shortest and longest lifetime of any certificate, whatever policy says. */
export const MIN_LIFETIME_SECONDS = 30;
export const MAX_LIFETIME_SECONDS = 3600;
/** What `beacon ssh` asks for. */
export const DEFAULT_LIFETIME_SECONDS = 900;
const MAX_COMMANDS = 32;

const undo = z.strictObject({
  command,
  params: z.string().max(8192).meta({
    description: 'the exact text of one JSON object, values strings only',
    example: '{"name":"r1"}',
  }),
  salt: bytes32,
  commitments: z.record(parameter, bytes32),
});

export const commandRequest = undo.extend({ undo: undo.optional() }).meta({ id: 'CommandRequest' });

const asked = {
  v: z.literal(1),
  host: hostId,
  login,
  lifetime_seconds: z.int().min(MIN_LIFETIME_SECONDS).max(MAX_LIFETIME_SECONDS),
  commands: z.array(commandRequest).min(1).max(MAX_COMMANDS).optional(),
};

export const certificateRequest = z
  .strictObject({ ...asked, public_key: publicKeyLine })
  .meta({ id: 'CertificateRequest' });

export const decisionRequest = z
  .strictObject({ ...asked, person: person.optional(), service: service.optional() })
  .meta({
    id: 'DecisionRequest',
    description: 'person and service: for another than the caller, only with ca.decisions',
  });

/** What one change would have made of a denial. */
export const missing = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('lifetime'), longest_seconds: z.int() }),
    z.strictObject({ kind: z.literal('team'), id: z.string() }),
    z.strictObject({ kind: z.literal('organization'), id: z.string() }),
    z.strictObject({ kind: z.literal('login'), login: z.string() }),
    z.strictObject({ kind: z.literal('service'), service: z.string() }),
    z.strictObject({ kind: z.literal('sso'), organization: z.string(), name: z.string().optional() }),
    z.strictObject({
      kind: z.literal('unknown'),
      of: z.enum(['team', 'organization']),
      id: z.string(),
      why: z.enum(['sso', 'not-installed', 'refused']),
    }),
  ])
  .meta({ id: 'Missing' });

export const limits = z
  .strictObject({ max_lifetime_seconds: z.int(), extensions: z.array(z.string()) })
  .meta({ id: 'Limits' });

export const decisionAnswer = z
  .strictObject({
    allowed: z.boolean(),
    reason: z.strictObject({ code: z.string(), text: z.string() }),
    missing: z.array(missing),
    policies: z.array(z.string()),
    policy_version: z.string(),
    limits: limits.nullable(),
    record: recordReference,
  })
  .meta({ id: 'Decision' });

export const certificateAnswer = z
  .strictObject({
    certificate: z.string().meta({ description: 'one line, as OpenSSH keeps it in a -cert.pub file' }),
    serial,
    grant: id,
    key_id: z.string(),
    principal: z.string(),
    valid_after: time,
    valid_before: time,
    shortened_by: z.literal('session').optional(),
    policies: z.array(z.string()),
    host: z.strictObject({
      id: hostId,
      address: z.string(),
      port: z.int(),
      certificate_authorities: z.array(z.string()),
    }),
    record: recordReference,
  })
  .meta({ id: 'IssuedCertificate' });

export const certificateEntry = z
  .strictObject({
    serial,
    kind: z.enum(['user', 'host']),
    grant: id.nullable(),
    person: person.nullable(),
    service: service.nullable(),
    host: hostId,
    login: login.nullable(),
    commands: z.array(z.string()),
    public_key: z.string().meta({ description: 'fingerprint', example: 'SHA256:…' }),
    authority: z.string().meta({ description: "fingerprint of the CA's key" }),
    valid_after: time,
    valid_before: time,
    revoked: z.boolean(),
    record: recordReference,
  })
  .meta({ id: 'Certificate' });

export const certificateQuery = z.strictObject({
  person: person.optional(),
  host: hostId.optional(),
  grant: id.optional(),
  before: serial.optional().meta({ description: 'only serials below this one: the next page' }),
  limit,
});

export const certificateList = z
  .strictObject({ certificates: z.array(certificateEntry) })
  .meta({ id: 'Certificates' });

export type CertificateRequest = z.infer<typeof certificateRequest>;
export type CommandRequest = z.infer<typeof commandRequest>;
export type DecisionRequest = z.infer<typeof decisionRequest>;
export type DecisionAnswer = z.infer<typeof decisionAnswer>;
export type Missing = z.infer<typeof missing>;
export type CertificateAnswer = z.infer<typeof certificateAnswer>;
export type CertificateEntry = z.infer<typeof certificateEntry>;
