/**
 * What the releases that are one minor version away write, word for word. Who changes a format so that one of these fails
 * first lets a minor version go by that reads both, and then says the new form only to who reads it (docs/host.md).
 */
import { parseAllowlist } from '@beacon/protocol/allowlist';
import { formatGateEvent, parseGateEvent } from '@beacon/protocol/gate-event';
import { formatGateRequest, parseGateRequest } from '@beacon/protocol/gate-request';
import { formatGrant, parseGrant } from '@beacon/protocol/grant';
import {
  enrolmentRequest,
  renewalRequest,
  reportRequest,
  selfTestRequest,
} from '@beacon/protocol/http/enrolment';
import {
  formatHostIdentity,
  formatTrustRoot,
  formatTrustStatus,
  parseHostIdentity,
  parseTrustRoot,
  parseTrustStatus,
} from '@beacon/protocol/trust';
import { expect, test } from '@jest/globals';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti';
const HEX = 'a'.repeat(64);
const BYTES = 'A'.repeat(43);
const ID = '01hzzzzzzz0123456789abcdef';
const TIME = '2026-11-22T12:00:00.000Z';

test.each([
  [
    '0.1: a trust root',
    `{"v":1,"kind":"trust-root","version":1,"issued":"${TIME}","expires":"2027-11-22T12:00:00.000Z","hosts":"build-.*","logins":["beacon"],"user_ca":["${KEY}"],"host_ca":["${KEY}"],"status_key":"${KEY}"}\n`,
    (text: string) => formatTrustRoot(parseTrustRoot(Buffer.from(text))),
  ],
  [
    '0.1: a trust status',
    `{"v":1,"kind":"trust-status","version":7,"root_version":1,"issued":"${TIME}","expires":"2026-11-23T12:00:00.000Z","krl":{"sha256":"${HEX}","bytes":129},"halt":["${ID}"]}\n`,
    (text: string) => formatTrustStatus(parseTrustStatus(Buffer.from(text))),
  ],
  [
    '0.1: the name of a host',
    `{"v":1,"host":"build-01","login":"beacon","root_key":"${KEY}"}\n`,
    (text: string) => formatHostIdentity(parseHostIdentity(Buffer.from(text))),
  ],
  [
    '0.1: a grant',
    `{"v":1,"grant":"${ID}","session":"${BYTES}","person":"github:1","service":"portal","host":"build-01","login":"beacon","commands":[{"command":"a.b","digest":"${BYTES}","undo":{"command":"a.c","digest":"${BYTES}"}}]}`,
    (text: string) => formatGrant(parseGrant(text)),
  ],
  [
    '0.1: what a gate is asked',
    `{"v":1,"id":1,"command":"a.b","params":"{\\"name\\":\\"x\\"}","salt":"${BYTES}","secrets":{"token":{"salt":"${BYTES}","value":"s"}}}`,
    (text: string) => formatGateRequest(parseGateRequest(text)).trimEnd(),
  ],
  [
    '0.1: what a gate says first',
    `{"v":1,"event":"hello","version":"0.1.0","host":"build-01","grant":"${ID}","until":"${TIME}","allowlist":"${HEX}","head":{"seq":3,"hash":"${HEX}"}}`,
    (text: string) => formatGateEvent(parseGateEvent(text)).trimEnd(),
  ],
])('%s is read, and written the same way', (_what, text, again) => {
  expect(again(text)).toBe(text);
});

test.each([
  ['enrolment', enrolmentRequest, { v: 1, secret: BYTES, host: 'build-01', host_key: KEY }],
  ['renewal', renewalRequest, { v: 1, host: 'build-01', at: TIME, nonce: BYTES }],
  [
    'self-test',
    selfTestRequest,
    { v: 1, host: 'build-01', at: TIME, nonce: BYTES, login: 'beacon', public_key: KEY },
  ],
  [
    'report',
    reportRequest,
    {
      v: 1,
      host: 'build-01',
      at: TIME,
      nonce: BYTES,
      clock: TIME,
      versions: { beacon: '0.1.0', sshd: 'OpenSSH_9.2p1' },
      trust: { root: 1, status: 1 },
      contract: { sha256: HEX, allowlist: '{"version":1,"commands":{}}\n' },
      head: { seq: 0, hash: '0'.repeat(64) },
      records: [],
    },
  ],
])("0.1: a host's %s is read", (_what, schema, body) => {
  expect(schema.safeParse(body)).toMatchObject({ success: true });
});

test('0.1: an allowlist is read', () => {
  const text = `{"version":1,"places":{"root":"/opt/x"},"commands":{"a.b":{"summary":"s","argv":["/usr/lib/beacon/commands/a","{root}","{name}"],"params":{"name":{"pattern":"[a-z]{1,9}"},"token":{"pattern":"[a-z]{1,9}","secret":true}},"timeout_seconds":9,"run_as":"beacon-setup","max_output_bytes":1024,"exclusive":"name"}}}`;
  expect([...parseAllowlist(Buffer.from(text)).commands.keys()]).toEqual(['a.b']);
});
