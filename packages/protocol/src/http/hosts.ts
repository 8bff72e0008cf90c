/** `/v1/hosts`: the machines that certificates can be issued for. Addresses are inventory that administrators change. */
import { z } from 'zod';
import { hostId, login, publicKeyLine, reason, recordReference, serial, time } from './name.ts';

export const address = z
  .string()
  .min(1)
  .max(253)
  .regex(/^(?!-)[A-Za-z0-9.:-]+$/, 'an IP address or a DNS name')
  .meta({ description: 'an IP address or a DNS name', example: '192.0.2.10' });
export const word = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/,
    'lower-case letters, digits, dots, dashes and underscores',
  );
export const labels = z
  .record(
    word,
    z
      .string()
      .min(1)
      .max(128)
      // Policy takes no others, and an id once taken is not given again.
      .refine((text) => !/\p{Cc}/u.test(text), 'a label is one line'),
  )
  .refine((all) => Object.keys(all).length <= 32, 'at most 32 labels');

export const hostRequest = z
  .strictObject({
    v: z.literal(1),
    id: hostId,
    address,
    port: z.int().min(1).max(65535),
    logins: z.array(login).min(1).max(32),
    labels,
    pools: z.array(word).max(32),
    host_key: publicKeyLine,
  })
  .meta({ id: 'HostRequest' });

export const hostChange = z.strictObject({ v: z.literal(1), reason }).meta({ id: 'HostChange' });

export const host = z
  .strictObject({
    id: hostId,
    state: z.enum(['enabled', 'disabled']),
    logins: z.array(login),
    address: z.string().optional(),
    port: z.int().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    pools: z.array(z.string()).optional(),
    host_key: z.string().optional().meta({ description: 'fingerprint' }),
  })
  .meta({
    id: 'Host',
    description: 'address, labels, pools and key are shown to who may use the host or has ca.hosts',
  });

export const hostAnswer = z
  .strictObject({
    host,
    certificate: z.string().meta({ description: 'the host certificate, one line' }),
    serial,
    valid_before: time,
    record: recordReference,
  })
  .meta({ id: 'RegisteredHost' });

export const hostChanged = z.strictObject({ host, record: recordReference }).meta({ id: 'ChangedHost' });
export const hostList = z.strictObject({ hosts: z.array(host) }).meta({ id: 'Hosts' });

export type HostRequest = z.infer<typeof hostRequest>;
export type HostEntry = z.infer<typeof host>;
export type HostAnswer = z.infer<typeof hostAnswer>;
