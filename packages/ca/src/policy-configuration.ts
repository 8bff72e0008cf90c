/** The files that the policy package judges, as values: the inventory and the cases of `beacon policy test`. */
import { readConfiguration } from '@beacon/server';
import { z } from 'zod';

const unread = z.unknown().optional();

/** The inventory's text as values; the policy package checks them. Throws ServerError `configuration`. */
export function readInventoryFile(file: string): Record<string, unknown> {
  return readConfiguration(
    file,
    z.strictObject({ version: unread, commands: unread, hosts: unread, places: unread }),
  );
}

/** The list under `cases`; the policy package checks it. Throws ServerError `configuration`. */
export function readCases(file: string): unknown {
  return readConfiguration(file, z.strictObject({ version: z.literal(1), cases: z.array(z.unknown()) }))
    .cases;
}
