/**
 * The same set-up for fleets and images: a shell script, or that script inside of cloud-init's and Ansible's own forms. It
 * holds what the archive does not (the pinned key and the trust documents), looks at the archive's digests, and calls the
 * archive's own `beacon host init`: so each machine is looked at by itself, and can take back what was done.
 */
import { describeStep } from './plan.ts';
import type { Prepared } from './prepare.ts';

export const PRINT_FORMS = ['shell', 'cloud-init', 'ansible'] as const;
export type PrintForm = (typeof PRINT_FORMS)[number];

const PLACE = '/root/beacon-host-init.sh';
const NAME = 'Make the machine a managed host of Beacon';

export function printPlan(prepared: Prepared, form: PrintForm): string {
  const script = formatScript(prepared);
  const content = Buffer.from(script).toString('base64');
  switch (form) {
    case 'shell':
      return script;
    case 'cloud-init': {
      const file = { path: PLACE, owner: 'root:root', permissions: '0700', encoding: 'b64', content };
      return `#cloud-config\n${yaml({ write_files: [file], runcmd: [['/bin/sh', PLACE]] })}`;
    }
    case 'ansible': {
      const copy = {
        dest: PLACE,
        owner: 'root',
        group: 'root',
        mode: '0700',
        content: `{{ '${content}' | b64decode }}`,
      };
      const run = { cmd: `/bin/sh ${PLACE}` };
      const environment = { BEACON_HOST_ID: '{{ inventory_hostname }}' };
      return `---\n${yaml([
        {
          name: NAME,
          hosts: 'all',
          become: true,
          tasks: [
            { name: 'Put the script there', 'ansible.builtin.copy': copy },
            { name: 'Run it', 'ansible.builtin.command': run, environment },
          ],
        },
      ])}`;
    }
  }
}

function formatScript({ wish, trust, payload, steps }: Prepared): string {
  const digests = [...payload.programs, ...payload.units].map(({ name, sha256 }) => `${sha256}  ${name}`);
  const pools = [...wish.pools].map(([name, count]) => `--accounts ${name}=${count} `).join('');
  return [
    '#!/bin/sh',
    `# ${NAME}. As root; a second run changes nothing.`,
    '# The archive for hosts is expected in /opt/beacon-host, or where BEACON_ARCHIVE says; the host id is the name of the',
    '# machine, or BEACON_HOST_ID. What it does where nothing was done yet:',
    ...steps.map((step) => `#   ${describeStep(step)}`),
    'set -eu',
    'umask 077',
    `archive=\${BEACON_ARCHIVE:-/opt/beacon-host}`,
    `id=\${BEACON_HOST_ID:-$(hostname -s)}`,
    'folder=$(mktemp -d)',
    `trap 'rm -rf "$folder"' EXIT`,
    `cd "$archive"`,
    `sha256sum -c --quiet - <<'END'`,
    ...digests,
    'END',
    `echo ${quote(wish.rootKey)} >"$folder/root.pub"`,
    ...Object.entries(trust.files).map(
      ([name, bytes]) => `echo ${bytes.toString('base64')} | base64 -d >"$folder/${name}"`,
    ),
    `./beacon host init --id "$id" --login ${wish.login} ${pools}--root-key "$folder/root.pub" --trust "$folder"`,
    '',
  ].join('\n');
}

/** Every JSON value is a value of YAML too. */
function yaml(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
