/** What ssh says, to the letter, and what the person is told; where the texts come from is `infra/e2e/dialer.test.ts`. */
import { describe, expect, test } from '@jest/globals';
import { explainSsh } from '../src/ssh-failure.ts';

const HEARD = 'debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1\n';
const UNKNOWN =
  'No ED25519 host key is known for build-01 and you have requested strict checking.\nHost key verification failed.\n';
const IN = `${HEARD}Authenticated to 127.0.0.1 ([127.0.0.1]:22) using "publickey".\n`;

const of = (stderr: string, status: number | null = 255, isBehindJump = false) =>
  explainSsh('build-01', { stderr, status, signal: null }, isBehindJump);

describe('what ssh says', () => {
  test.each([
    ['ssh: connect to host 10.0.0.1 port 22: Connection timed out', 'host-unreachable'],
    ['ssh: connect to host 10.0.0.1 port 22: No route to host', 'host-unreachable'],
    ['ssh: connect to host ::1 port 22: Network is unreachable', 'host-unreachable'],
    [
      'Connection timed out during banner exchange\nConnection to 127.0.0.1 port 22 timed out',
      'host-unreachable',
    ],
    [
      'Unable to negotiate with 127.0.0.1 port 22: no matching key exchange method found. Their offer: x',
      'host-unreachable',
    ],
    [`Certificate invalid: expired\n${UNKNOWN}`, 'host-key-untrusted'],
    [`Certificate invalid: not yet valid\n${UNKNOWN}`, 'clock-skew'],
    [`Certificate invalid: name is not a listed principal\n${UNKNOWN}`, 'host-key-untrusted'],
    ['root@127.0.0.1: Permission denied (publickey).', 'certificate-refused'],
    ['Received disconnect from 127.0.0.1 port 22:2: Too many authentication failures', 'certificate-refused'],
    ['something new', 'host-unreachable'],
    ['', 'host-unreachable'],
  ])('%j means %s, and trying again at once is of no use', (stderr, code) => {
    expect(of(`${HEARD}${stderr}\n`)).toMatchObject({ error: { code }, isBusy: false });
  });

  test.each([
    ['debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups\n', true],
    [
      'kex_exchange_identification: Connection closed by remote host\nConnection closed by 127.0.0.1 port 4803\n',
      true,
    ],
    ['kex_exchange_identification: read: Connection reset by peer\n', true],
    [
      'debug1: kex_exchange_identification: banner line 0: Not allowed at this time\nkex_exchange_identification: Connection closed by remote host\n',
      false,
    ],
  ])('Q7: %j is a busy host', (stderr, isBusy) => {
    expect(of(stderr)).toMatchObject({ error: { code: 'host-busy' }, isBusy });
  });

  test.each([
    [75, 'gate-busy', true],
    [77, 'gate-refused', false],
    [78, 'gate-refused', false],
    [255, 'session-lost', false],
    [1, 'session-lost', false],
  ])('after the login the status says it: %d', (status, code, isBusy) => {
    expect(of(`${IN}Permission denied\n`, status)).toMatchObject({ error: { code }, isBusy });
  });

  test('tells a jump host from the host behind it', () => {
    expect(of(UNKNOWN, 255, true)).toMatchObject({ error: { code: 'jump-host' } });
    expect(of(`${HEARD}${UNKNOWN}`, 255, true)).toMatchObject({ error: { code: 'host-key-untrusted' } });
  });

  test('names neither a path nor what ssh said to the person', () => {
    const { error } = of('Load key "/run/beacon/x": error in libcrypto\n');
    expect(error.message).not.toContain('/run');
    expect(String((error.cause as Error).message)).toContain('libcrypto');
  });
});
