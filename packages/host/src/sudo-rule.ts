/**
 * The one sudo rule: Beacon's login may start the gate as root, without arguments, and nothing else. sudo's own settings
 * for this command keep a recorder or a terminal requirement of the machine away from the gate's streams.
 */
export const SUDO_RULE = '/etc/sudoers.d/beacon';

const GATE = '/usr/lib/beacon/gate';

const SETTINGS = [
  'env_reset',
  'env_keep = "BEACON_CERTIFICATE"',
  '!log_input',
  '!log_output',
  '!use_pty',
  '!requiretty',
  'closefrom=3',
  'umask=0077',
  'umask_override',
];

/** The file's exact text. */
export function formatSudoRule(login: string): string {
  return `Defaults!${GATE} ${SETTINGS.join(', ')}\n${login} ALL=(root) NOPASSWD: ${GATE} ""\n`;
}

/** What is wrong with what `sudo -l -U LOGIN` prints; undefined where the login may start the gate and nothing else. */
export function findSudoDefect(listing: string): string | undefined {
  const [before = '', rules = ''] = listing.split(/may run the following commands on [^\n]*:\n/);
  const found = rules
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const expected = `(root) NOPASSWD: ${GATE} ""`;
  if (!found.includes(expected)) return 'it does not let the login start the gate';
  const others = found.filter((line) => line !== expected);
  if (others.length > 0) return `it lets the login do more: ${others.join('; ')}`;
  const known = new Set(SETTINGS.map(plain));
  const settings = [
    ...before
      .replaceAll(/\s+/g, ' ')
      .matchAll(/Defaults!\/usr\/lib\/beacon\/gate (.*?)(?= Defaults|$| User )/g),
  ]
    .flatMap(([, list = '']) => list.split(', '))
    .map(plain);
  const strange = settings.filter((setting) => setting !== '' && !known.has(setting));
  return strange.length > 0 ? `it has other settings for the gate: ${strange.join(', ')}` : undefined;
}

/** A setting without white space and quotes, which versions of sudo print differently. */
function plain(setting: string): string {
  return setting.replaceAll(/[\s"]/g, '');
}
