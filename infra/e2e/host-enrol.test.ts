/**
 * Machines that become hosts of a real CA by a token: what they look at before they show it, their own first login, what is
 * left when something fails, and what an operator is told.
 */
import { formatHostToken, parseHostToken } from '@beacon/protocol/host-token';
import { fingerprint, generateKey } from '@beacon/ssh';
import { describe, expect, test } from '@jest/globals';
import { whyNoLab } from '../lab/possible.ts';
import { BEACON, CERTIFICATE, CERTIFICATE_DROP_IN, useEnrollingHost } from './enrolling-host.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`enrolment of hosts is left out: ${why}\n`);

(why === undefined ? describe : describe.skip)('a machine with a token', () => {
  const use = useEnrollingHost();
  const script = (text: string) => use().host.script(text);

  test('is a host when its own first login has reached its gate, and remove takes all of it back', async () => {
    const id = await use().asNew();
    const done = await use().init(id);
    expect(done).toMatchObject({ status: 0 });
    expect(done.stdout).toContain(`self-test: beacon@${id} reached its gate`);
    expect(await use().records(id)).toEqual(['host-enrolled', 'host-self-test']);
    expect(await use().check()).toMatchObject({ status: 0, stdout: expect.not.stringContaining('DEFECT') });
    expect(await script('sshd -T')).toContain(`hostcertificate ${CERTIFICATE}`);
    // A second one has nothing to do and needs no token.
    expect(await use().init(id, '')).toMatchObject({ status: 0, stdout: '' });
    expect(await use().administrator()).toBe('0');
    expect(await use().remove()).toBe(true);
    expect(await script('sshd -T')).not.toContain(CERTIFICATE);
    const shown = `${done.stdout}${done.stderr}${await script('journalctl -q --no-pager')}`;
    expect(shown).not.toContain(parseHostToken((await script('cat /root/token')).trim()).secret);
  }, 120_000);

  test('E4: shows no token to a CA whose root another key has signed', async () => {
    const id = await use().asNew();
    const token = parseHostToken((await script('cat /root/token')).trim());
    const another = fingerprint(generateKey('ssh-ed25519').publicKey);
    await use().host.write('/root/other', formatHostToken({ ...token, rootKey: another }));
    const refused = await use().init(id, '--token-file /root/other');
    expect(refused).toMatchObject({ status: 77, stderr: expect.stringContaining('no token was shown') });
    expect(await use().records(id)).toEqual([]);
    expect(await use().etc()).toBe(use().before);
    // The token is as good as before; and it may come by standard input.
    const done = await use().init(id, '--token-file - </root/token');
    expect(done).toMatchObject({ status: 0 });
    expect(await use().remove()).toBe(true);
  }, 120_000);

  test('I4: a host whose own login does not reach the gate is taken back, and the same token completes it later', async () => {
    const id = await use().asNew();
    await script(`sed -i '1i account required pam_succeed_if.so quiet user != beacon' /etc/pam.d/sshd`);
    const altered = await use().etc();
    const failed = await use().init(id);
    expect(failed.status).not.toBe(0);
    expect(failed.stderr).toMatch(
      /own login did not reach its gate[\s\S]*taken back[\s\S]*the same token works here/,
    );
    expect(await use().etc()).toBe(altered);
    expect(await use().administrator()).toBe('0');
    await script(`sed -i 1d /etc/pam.d/sshd`);
    expect(await use().init(id)).toMatchObject({ status: 0 });
    expect(await use().records(id)).toEqual([
      ...['host-enrolled', 'host-self-test'],
      ...['host-certificate', 'host-self-test'],
    ]);
    expect(await use().remove()).toBe(true);
  }, 120_000);

  test('finds its own sshd at another port and address', async () => {
    const id = await use().asNew();
    const { address } = use().host;
    await script(
      `printf 'Port 2222\\nListenAddress ${address}\\n' >/etc/ssh/sshd_config.d/20-port.conf; systemctl restart ssh`,
    );
    expect(await use().init(id)).toMatchObject({ status: 0 });
    expect(await use().administrator(2222)).toBe('0');
    await script(`${BEACON} remove --purge; rm /etc/ssh/sshd_config.d/20-port.conf; systemctl restart ssh`);
    expect(await use().etc()).toBe(use().before);
  }, 120_000);

  test('names a certificate that sshd has for the same key, before it shows the token', async () => {
    const id = await use().asNew();
    await script(`
      ssh-keygen -q -t ed25519 -N '' -f /root/authority
      ssh-keygen -q -s /root/authority -h -I other -n other /etc/ssh/ssh_host_ed25519_key.pub
      echo 'HostCertificate /etc/ssh/ssh_host_ed25519_key-cert.pub' >/etc/ssh/sshd_config.d/20-own.conf`);
    expect(await use().init(id)).toMatchObject({
      status: 64,
      stderr: expect.stringContaining('/etc/ssh/ssh_host_ed25519_key-cert.pub: sshd has a certificate'),
    });
    expect(await use().records(id)).toEqual([]);
    await script('rm /root/authority* /etc/ssh/sshd_config.d/20-own.conf /etc/ssh/*-cert.pub');
    expect(await use().etc()).toBe(use().before);
  }, 120_000);

  test('E1, E3, A7: says what to do with a token that is used, an id that is taken, a key of another host', async () => {
    const id = await use().asNew();
    expect(await use().init(id)).toMatchObject({ status: 0 });
    expect(await use().remove()).toBe(true);
    // A copy of the machine under another name.
    const copy = `${id}-copy`;
    await use().giveToken(copy);
    const copied = await use().init(copy);
    expect(copied.stderr).toMatch(/key-in-use[\s\S]*ssh-keygen -A/);
    expect(await use().etc()).toBe(use().before);
    // Another machine under the same name, by a token for a fleet.
    const fresh = await use().asNew();
    await use().givePoolToken('build-[0-9]+', 5);
    const taken = await use().init(id);
    expect(taken.stderr).toMatch(/host-exists[\s\S]*--replace/);
    expect(await use().etc()).toBe(use().before);
    expect(await use().init(fresh)).toMatchObject({ status: 0 });
    expect(await use().remove()).toBe(true);
    // An administrator says that it is meant.
    await use().asNew();
    await use().giveToken(id, { replace: true });
    expect(await use().init(id)).toMatchObject({ status: 0 });
    // The machine of a snapshot that was put back has the key that the CA knows.
    await use().giveToken(id, { replace: true });
    expect(await use().init(id)).toMatchObject({ status: 0, stdout: expect.stringContaining('self-test') });
    expect(await use().remove()).toBe(true);
    expect((await use().init(id, '')).stderr).toContain('--root-key FILE, or a token');
  }, 180_000);

  describe('check', () => {
    test('names each alteration of the host certificate', async () => {
      const id = await use().asNew();
      expect(await use().init(id)).toMatchObject({ status: 0 });
      const alterations = [
        [`rm ${CERTIFICATE}`, `${CERTIFICATE}: it is not there`],
        [`chmod 666 ${CERTIFICATE}`, `${CERTIFICATE}: its mode`],
        [`rm ${CERTIFICATE_DROP_IN}`, `${CERTIFICATE_DROP_IN}: it is not there`],
        [`rm ${CERTIFICATE_DROP_IN}`, 'sshd does not show the host certificate'],
        [`echo >>${CERTIFICATE_DROP_IN}`, `${CERTIFICATE_DROP_IN}: it is not what init put there`],
        [`sed -i 's/A/B/' ${CERTIFICATE}`, `${CERTIFICATE}: `],
        [
          'cd /etc/ssh; rm ssh_host_ed25519*; ssh-keygen -q -t ed25519 -N "" -f ssh_host_ed25519_key',
          'it is for a key that sshd has not',
        ],
      ] as const;
      await script('mkdir /root/kept; cp -a /etc/ssh /etc/beacon /root/kept');
      for (const [alteration, said] of alterations) {
        await script(alteration);
        const { status, stdout } = await use().check();
        expect([alteration, status, stdout]).toEqual([alteration, 78, expect.stringContaining(said)]);
        await script('rm -r /etc/ssh /etc/beacon; cp -a /root/kept/ssh /root/kept/beacon /etc');
      }
      await script('rm -r /root/kept; systemctl reload ssh; sleep 1');
      expect(await use().check()).toMatchObject({ status: 0 });
      expect(await use().remove()).toBe(true);
    }, 120_000);
  });
});
