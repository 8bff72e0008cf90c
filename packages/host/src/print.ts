/**
 * The same set-up for fleets and images: a shell script, or that script inside of cloud-init's and Ansible's own forms. It
 * holds what the archive does not (the pinned key, and where there is no CA to ask the trust documents), looks at the
 * archive's digests, and calls `beacon host init`: so each machine is looked at by itself, and can take back what was done.
 * A token stands in it only where a machine has no other way to get one.
 */
import { HostError } from './error.ts';
import { HOST_CERTIFICATE } from './host-certificate.ts';
import { describeStep, PROGRAM_FOLDER } from './plan.ts';
import type { Prepared } from './prepare.ts';
import { GITHUB, RUNNER_POOL } from './runner-files.ts';
import type { Wish } from './wish.ts';

export const PRINT_FORMS = ['shell', 'cloud-init', 'ansible'] as const;
export type PrintForm = (typeof PRINT_FORMS)[number];

const PLACE = '/root/beacon-host-init.sh';
const NAME = 'Make the machine a managed host of Beacon';

/** Where a machine finds its token. */
const TOKEN = '/run/beacon-host-token';

/** `token` is put into what is for cloud-init alone: the other forms name a file. */
export function printPlan(prepared: Prepared, form: PrintForm, token?: string): string {
  const script = formatScript(prepared);
  const content = Buffer.from(script).toString('base64');
  switch (form) {
    case 'shell':
      return script;
    case 'cloud-init': {
      const file = { path: PLACE, owner: 'root:root', permissions: '0700', encoding: 'b64', content };
      const secret = { path: TOKEN, owner: 'root:root', permissions: '0600', content: `${token}\n` };
      const files = token === undefined ? [file] : [file, secret];
      return `#cloud-config\n${yaml({ write_files: files, runcmd: [['/bin/sh', PLACE]] })}`;
    }
    case 'ansible':
      return formatPlaybook(prepared, content);
  }
}

function formatPlaybook({ wish }: Prepared, content: string): string {
  const owned = { owner: 'root', group: 'root' };
  const copy = { dest: PLACE, ...owned, mode: '0700', content: `{{ '${content}' | b64decode }}` };
  const secret = { src: '{{ beacon_token_file }}', dest: TOKEN, ...owned, mode: '0600' };
  const environment = { BEACON_HOST_ID: '{{ inventory_hostname }}' };
  const tokenTask = {
    name: 'Put the token there',
    'ansible.builtin.copy': secret,
    when: 'beacon_token_file is defined',
    no_log: true,
  };
  return `---\n${yaml([
    {
      name: NAME,
      hosts: 'all',
      become: true,
      tasks: [
        { name: 'Put the script there', 'ansible.builtin.copy': copy },
        ...(wish.ca === undefined ? [] : [tokenTask]),
        { name: 'Run it', 'ansible.builtin.command': { cmd: `/bin/sh ${PLACE}` }, environment },
      ],
    },
  ])}`;
}

function formatScript(prepared: Prepared): string {
  const { wish, steps } = prepared;
  const pools = [...wish.pools]
    .filter(([name]) => wish.runners === undefined || name !== RUNNER_POOL)
    .map(([name, count]) => `--accounts ${name}=${count} `)
    .join('');
  const more = [
    ...(wish.personalLogins ?? []).map((login) => `--personal-login ${login} `),
    ...describeRunners(wish),
    ...(wish.brokerAddresses ?? []).map((address) => `--broker-address ${address} `),
  ].join('');
  const call = `--id "$id" --login ${wish.login} ${pools}${more}--root-key "$folder/root.pub"`;
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
    `echo ${quote(wish.rootKey)} >"$folder/root.pub"`,
    ...(wish.ca === undefined
      ? carried(prepared, call)
      : enrolled(prepared, `${call} --ca ${quote(wish.ca)}`)),
    '',
  ].join('\n');
}

function describeRunners({ runners, pools }: Wish): string[] {
  if (runners === undefined) return [];
  const { github, downloads } = runners;
  return [
    `--runners ${pools.get(RUNNER_POOL) ?? 0} `,
    ...(github === GITHUB.github ? [] : [`--github-url ${quote(github)} `]),
    ...(downloads === GITHUB.downloads ? [] : [`--runner-downloads ${quote(downloads)} `]),
  ];
}

function requireDigests({ payload }: Prepared): string[] {
  if (payload.archive.length === 0)
    throw new HostError(
      'payload-missing',
      'the digests of the archive are not known here: call the beacon of the unpacked archive for hosts, or name its folder with --from',
    );
  const digests = payload.archive.map(({ name, sha256 }) => `${sha256}  ${name}`);
  return [`cd "$archive"`, `sha256sum -c --quiet - <<'END'`, ...digests, 'END'];
}

/** Without a CA: the trust documents come along. */
function carried(prepared: Prepared, call: string): string[] {
  return [
    ...requireDigests(prepared),
    ...Object.entries(prepared.trust.files).map(
      ([name, bytes]) => `echo ${bytes.toString('base64')} | base64 -d >"$folder/${name}"`,
    ),
    `./beacon host init ${call} --trust "$folder"`,
  ];
}

/** With a CA: a token comes apart from this, and goes when it was used. An image that is laid out needs no archive. */
function enrolled(prepared: Prepared, call: string): string[] {
  return [
    `token=\${BEACON_TOKEN_FILE:-${TOKEN}}`,
    `set -- ${call}`,
    `if [ -f "$token" ]; then set -- "$@" --token-file "$token"`,
    `elif [ ! -f ${HOST_CERTIFICATE} ]; then echo "put the token for this machine into $token" >&2; exit 66; fi`,
    'if [ -x "$archive/beacon" ]; then',
    ...requireDigests(prepared),
    './beacon host init "$@"',
    `else ${PROGRAM_FOLDER}/beacon host init "$@"; fi`,
    'rm -f "$token"',
  ];
}

/** Every JSON value is a value of YAML too. */
function yaml(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
