/**
 * Whether the sshd that runs has read its configuration since that changed: until then the files say what is not in force.
 * sshd writes its file of its process id whenever it starts or is reloaded, whoever told it to, so that file's time is when
 * it read the others. A folder's time tells of files that went.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DROP_IN } from './drop-in.ts';
import { defect, type Finding } from './finding.ts';
import type { Machine } from './machine.ts';
import { configurationFiles } from './sshd.ts';

type Settings = ReadonlyMap<string, readonly string[]>;

/** Nothing where sshd does not run by itself, or keeps no such file. Places are named with what changed last. */
export function checkReload(machine: Machine, settings: Settings | undefined): Finding[] {
  const file = settings?.get('pidfile')?.[0];
  if (!machine.live || file === undefined || file === 'none') return [];
  const read = changeOf(machine, file);
  if (read === undefined) return [];
  const paths = [...configurationFiles(machine).map(({ path }) => path), dirname(DROP_IN)];
  const late = paths.filter((path) => (changeOf(machine, path) ?? 0n) > read);
  const [place] = late;
  if (place === undefined) return [];
  return [
    defect(
      'not-reloaded',
      place,
      'sshd has not read its configuration since this changed',
      'sshd -t && systemctl reload ssh (or sshd)',
    ),
  ];
}

/** When a file was last changed, its content or its place, in nanoseconds. */
function changeOf(machine: Machine, path: string): bigint | undefined {
  return statSync(machine.at(path), { bigint: true, throwIfNoEntry: false })?.ctimeNs;
}
