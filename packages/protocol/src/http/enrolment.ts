/**
 * `/v1/host-tokens`, `/v1/host-enrolments`, `/v1/host-renewals`, `/v1/host-self-tests`, `/v1/host-reports`: how a machine
 * becomes a host and stays one (DESIGN.md section 6). How a machine signs its requests is `host-request.ts`.
 */
import { z } from 'zod';
import { chainHead as head } from './heads.ts';
import { address, hostRequest, labels, word } from './hosts.ts';
import {
  bytes32,
  hostId,
  id,
  login,
  person,
  publicKeyLine,
  recordReference,
  serial,
  service,
  time,
} from './name.ts';

const place = {
  port: z.int().min(1).max(65535),
  logins: z.array(login).min(1).max(32),
  labels,
  pools: z.array(word).max(32),
};
const life = z
  .int()
  .min(60)
  .max(30 * 86_400)
  .meta({ description: 'how many seconds the token is good for' });

export const hostTokenRequest = z
  .discriminatedUnion('kind', [
    z.strictObject({
      v: z.literal(1),
      kind: z.literal('host'),
      host: hostId,
      address,
      ...place,
      replace: z.boolean().meta({
        description: 'true: the host is there already and is enrolled again, its certificates revoked',
      }),
      lifetime_seconds: life,
    }),
    z.strictObject({
      v: z.literal(1),
      kind: z.literal('pool'),
      hosts: z.string().min(1).max(256).meta({ description: 'the pattern of the host ids' }),
      domain: z
        .string()
        .max(190)
        .regex(/^([a-z0-9-]+[.])*[a-z0-9-]+$/)
        .optional()
        .meta({ description: "a host's address is its id, a dot and this; its id alone without" }),
      ...place,
      uses: z.int().min(1).max(10_000),
      lifetime_seconds: life,
    }),
  ])
  .meta({ id: 'HostTokenRequest' });

export const hostTokenAnswer = z
  .strictObject({
    id,
    token: z.string().meta({ description: 'shown once; the CA keeps a digest' }),
    expires: time,
    record: recordReference,
  })
  .meta({ id: 'HostToken' });

export const hostTokenEntry = z.strictObject({
  id,
  kind: z.enum(['host', 'pool']),
  hosts: z.string().meta({ description: 'the host id, or the pattern' }),
  person,
  expires: time,
  uses_left: z.int().min(0),
});
export const hostTokenList = z.strictObject({ tokens: z.array(hostTokenEntry) }).meta({ id: 'HostTokens' });
export const hostTokenParams = z.strictObject({ id });
export const hostTokenRevoked = z.strictObject({ record: recordReference }).meta({ id: 'RevokedHostToken' });

export const enrolmentRequest = z
  .strictObject({
    v: z.literal(1),
    secret: bytes32.meta({ description: 'the second part of the token' }),
    host: hostId,
    host_key: hostRequest.shape.host_key,
  })
  .meta({ id: 'HostEnrolment' });

const fresh = { v: z.literal(1), host: hostId, at: time, nonce: bytes32 };

export const renewalRequest = z.strictObject(fresh).meta({ id: 'HostRenewal' });

export const selfTestRequest = z
  .strictObject({ ...fresh, login, public_key: publicKeyLine })
  .meta({ id: 'HostSelfTest' });

export const hostCertificateAnswer = z
  .strictObject({
    certificate: z.string().meta({ description: 'one line' }),
    serial,
    valid_before: time,
    record: recordReference,
  })
  .meta({ id: 'IssuedHostCertificate' });

export const selfTestAnswer = z
  .strictObject({
    certificate: z.string().meta({ description: 'one line; no commands' }),
    serial,
    grant: id,
    principal: z.string(),
    valid_before: time,
    record: recordReference,
  })
  .meta({ id: 'SelfTestCertificate' });

const version = z
  .string()
  .max(100)
  .regex(/^[\x20-\x7e]+$/);

export const reportRequest = z
  .strictObject({
    ...fresh,
    clock: time.meta({ description: "what the host's own clock says" }),
    versions: z.strictObject({ beacon: version, sshd: version }),
    trust: z
      .strictObject({ root: z.int().min(0), status: z.int().min(0) })
      .meta({ description: 'the versions in force on the host; 0: none' }),
    certificate: serial
      .optional()
      .meta({ description: 'of the host certificate that sshd shows; absent: not looked at' }),
    contract: z
      .strictObject({
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        allowlist: z.string().max(65_536).optional().meta({
          description: 'the exact text; may be left out once an answer has said contract_known',
        }),
      })
      .optional(),
    head: head.meta({ description: "of the host's own records; seq 0 and 64 zeros while there are none" }),
    records: z.array(z.string().max(65_536)).max(500).meta({
      description: 'the lines that lead from the head reported last to this one; none with the first report',
    }),
  })
  .meta({ id: 'HostReport' });

export const reportAnswer = z
  .strictObject({
    head,
    contract_known: z.boolean(),
    clock_off_seconds: z.int(),
    renew: z.boolean().meta({
      description:
        'true: renew the host certificate now, for it is of a CA key that goes, or revoked with one',
    }),
  })
  .meta({ id: 'ReportedHost' });

export const hostWarning = z.enum([
  'unseen',
  'trust-stale',
  'clock-off',
  'version-behind',
  'head-refused',
  'certificate-ending',
]);

const hostReport = z.strictObject({
  seen: time,
  clock_off_seconds: z.int(),
  versions: z.strictObject({ beacon: z.string(), sshd: z.string() }),
  trust: z.strictObject({ root: z.int(), status: z.int() }),
  contract: z.string().nullable().meta({ description: 'SHA-256 of its allowlist' }),
  head: head.meta({ description: 'of its own records' }),
  head_refused: time.nullable(),
});

const serviceHead = z.strictObject({
  service,
  seen: time,
  head: head.meta({ description: 'of its own records' }),
  head_refused: time.nullable(),
});

export const reportedHosts = z
  .strictObject({
    hosts: z.array(
      z.strictObject({
        id: hostId,
        state: z.enum(['enabled', 'disabled']),
        report: hostReport.nullable().meta({ description: 'what it said last' }),
        certificate: z
          .strictObject({ serial, authority: z.string(), valid_before: time })
          .nullable()
          .meta({ description: 'the newest host certificate that is neither over nor revoked' }),
        warnings: z.array(hostWarning).meta({ description: 'of an enabled host' }),
      }),
    ),
    services: z.array(serviceHead).meta({ description: 'those that keep records of runs' }),
  })
  .meta({ id: 'ReportedHosts' });

export type HostTokenRequest = z.infer<typeof hostTokenRequest>;
export type HostTokenAnswer = z.infer<typeof hostTokenAnswer>;
export type EnrolmentRequest = z.infer<typeof enrolmentRequest>;
export type RenewalRequest = z.infer<typeof renewalRequest>;
export type SelfTestRequest = z.infer<typeof selfTestRequest>;
export type ReportRequest = z.infer<typeof reportRequest>;
export type ReportedHosts = z.infer<typeof reportedHosts>;
export type HostWarning = z.infer<typeof hostWarning>;
export type ReportAnswer = z.infer<typeof reportAnswer>;
