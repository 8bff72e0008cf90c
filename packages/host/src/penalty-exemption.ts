/**
 * From 9.8 on sshd refuses an address for a while that was refused some logins. Others can make a broker be refused, so its
 * addresses are exempted; sshd knows that as one global list alone, so it is said, and a list that is there is left alone.
 * Pure.
 */
import { isIP } from 'node:net';
import { HostError } from './error.ts';
import { type Finding, note } from './finding.ts';

const KEYWORD = 'PerSourcePenaltyExemptList';
const NONE = 'none';

type Settings = ReadonlyMap<string, readonly string[]>;

export interface Exemption {
  /** What the drop-in sets. */
  readonly exempt: readonly string[];
  readonly findings: readonly Finding[];
}

/** `settings` are those of the machine without Beacon's drop-in. */
export function decideExemption(settings: Settings | undefined, addresses: readonly string[]): Exemption {
  const list = settings?.get(KEYWORD.toLowerCase())?.[0];
  if (list === undefined) return { exempt: [], findings: [] };
  if (addresses.length === 0) {
    return {
      exempt: [],
      findings: [
        note(
          'penalties',
          'sshd',
          'it refuses an address for a while that was refused some logins, a broker too',
          'name where the broker connects from: --broker-address',
        ),
      ],
    };
  }
  if (list === NONE) {
    return {
      exempt: addresses,
      findings: [
        note(
          'penalties',
          KEYWORD,
          `${addresses.join(', ')} will be exempt for all logins: sshd knows this globally alone`,
          'leave --broker-address out if that is not wanted',
        ),
      ],
    };
  }
  return { exempt: [], findings: missingExemptions(settings, addresses) };
}

/** The addresses that are not exempt, where sshd knows penalties. */
export function missingExemptions(settings: Settings | undefined, addresses: readonly string[]): Finding[] {
  const list = settings?.get(KEYWORD.toLowerCase())?.[0];
  if (list === undefined) return [];
  const missing = addresses.filter((address) => !list.split(',').includes(address));
  if (missing.length === 0) return [];
  const what = `it does not name ${missing.join(', ')}, so sshd may refuse the broker for a while`;
  const remedy =
    list === NONE
      ? 'run beacon host init again'
      : `add ${missing.join(',')} where it is set: ${list.slice(0, 80)}`;
  return [note('penalties', KEYWORD, what, remedy)];
}

/** An address or a network, as sshd takes them. Throws HostError `usage`. */
export function parseBrokerAddress(text: string): string {
  const [address = '', bits, ...more] = text.split('/');
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  const isNetwork = bits === undefined || (/^(0|[1-9][0-9]{0,2})$/.test(bits) && Number(bits) <= most);
  if (most > 0 && isNetwork && more.length === 0 && !address.includes('%')) return text;
  throw new HostError(
    'usage',
    `${JSON.stringify(text.slice(0, 80))} is no address: write one such as 192.0.2.7, or a network such as 2001:db8::/64`,
  );
}
