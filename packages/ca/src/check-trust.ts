/** What `beacon ca check` says of trust documents and hosts, from what the store holds; each line ends with what to do. */
import type { HostWarning } from '@beacon/protocol/http/enrolment';
import type { CheckResult } from '@beacon/server';
import { type DocumentAge, hostsByWarning, LATE, type TrustHealth } from './trust-health.ts';

const SHOWN = 10;

const WORDS: Readonly<Record<HostWarning, string>> = {
  'head-refused':
    'reported a record head that does not extend the last one: look at each as at one that was broken into, then enrol it again',
  unseen: 'not seen within a day: is `beacon host sync` running there? disable what is gone',
  'trust-stale': 'older trust documents than there should be: see `beacon host check` there',
  'clock-off':
    'the clock is over 30 seconds off, and from a minute on the gate refuses: set it, and see its NTP',
  'version-behind': 'an older minor version of Beacon than this CA: bring it forward before the CA goes on',
  'certificate-ending':
    'the host certificate ends within 7½ days or is over: see `beacon host check` there, or `beacon ca host add` again',
};

/** Nothing before a root is published and a host is there. */
export function checkTrust({ root, status, hosts }: TrustHealth): CheckResult[] {
  const enabled = hosts.filter(({ state }) => state === 'enabled').length;
  return [
    ...(root === undefined ? [] : [judgeAge('trust root', root, 'draw up, sign and publish the next one')]),
    ...(status === undefined
      ? []
      : [
          judgeAge(
            'trust status',
            status,
            '`beacon ca serve` signs one each hour: is it serving, and what does its log say?',
          ),
        ]),
    ...(enabled === 0 ? [] : [judgeHosts(enabled, hostsByWarning(hosts))]),
  ];
}

function judgeAge(check: string, { version, expires, lifeUsed }: DocumentAge, todo: string): CheckResult {
  const said = `version ${version}, good until ${expires.toISOString()}`;
  if (lifeUsed >= 1)
    return {
      check,
      ok: false,
      detail: `version ${version} ended ${expires.toISOString()}, and hosts admit nobody: ${todo}`,
    };
  if (lifeUsed < LATE) return { check, ok: true, detail: said };
  return { check, ok: true, warning: true, detail: `${said}, three quarters of its life are over: ${todo}` };
}

function judgeHosts(enabled: number, found: Readonly<Record<HostWarning, readonly string[]>>): CheckResult {
  const lines = (Object.keys(WORDS) as HostWarning[]).flatMap((warning) => {
    const ids = found[warning];
    if (ids.length === 0) return [];
    return [
      `${ids.slice(0, SHOWN).join(', ')}${ids.length > SHOWN ? ` and ${ids.length - SHOWN} more` : ''}: ${WORDS[warning]}`,
    ];
  });
  if (lines.length === 0)
    return { check: 'hosts', ok: true, detail: `${enabled} enabled, nothing to look at` };
  const detail = [`${enabled} enabled`, ...lines].join('\n');
  return found['head-refused'].length > 0
    ? { check: 'hosts', ok: false, detail }
    : { check: 'hosts', ok: true, warning: true, detail };
}
