/**
 * Enrolment that is broken off after any of its steps, machines that were laid out before they are enrolled, and a fleet
 * with one token.
 */
import { describe, expect, test } from '@jest/globals';
import { whyNoLab } from '../lab/possible.ts';
import { BEACON, CERTIFICATE, CERTIFICATE_DROP_IN, useEnrollingHost } from './enrolling-host.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`enrolment of hosts is left out: ${why}\n`);
const HOST = '/usr/lib/beacon/beacon host';

(why === undefined ? describe : describe.skip)('a machine between machine and host', () => {
  const use = useEnrollingHost();
  const script = (text: string) => use().host.script(text);

  /** `init`, ended by SIGKILL as soon as it has said `line`. */
  const initKilledAfter = async (id: string, line: string): Promise<void> => {
    const text = `
      mkfifo /root/said; ${use().initLine(id)} >/root/said & pid=$!
      while IFS= read -r said; do case $said in "$WANTED"*) kill -9 $pid; break;; esac; done </root/said
      wait $pid || true; rm /root/said; systemctl restart ssh`;
    await use().host.run(['env', `WANTED=${line}`, 'sh', '-c', text]);
  };

  test.each([
    ['file /etc/ssh/sshd_config.d/10-beacon.conf', '--token-file /root/token'],
    [`file ${CERTIFICATE}`, ''],
    [`file ${CERTIFICATE_DROP_IN}`, ''],
    ['self-test: ', ''],
  ])(
    'E5, I4: killed after "%s" the administrators get in, and a second init completes, with a token only before it was used',
    async (line, more) => {
      const id = await use().asNew();
      await initKilledAfter(id, line);
      expect(await use().administrator()).toBe('0');
      expect((await use().check()).stdout).toContain('DEFECT beacon host init: it was broken off');
      const done = await use().init(id, `--root-key /root/root.pub ${more}`);
      expect(done).toMatchObject({ status: 0, stdout: expect.stringContaining('self-test') });
      expect(await use().check()).toMatchObject({ status: 0 });
      expect((await use().records(id)).filter((kind) => kind === 'host-enrolled')).toHaveLength(1);
      expect(await use().administrator()).toBe('0');
      expect(await use().remove()).toBe(true);
    },
    120_000,
  );

  test('I4: killed when sshd was told of the certificate, remove leaves /etc byte for byte as before', async () => {
    const id = await use().asNew();
    await initKilledAfter(id, `file ${CERTIFICATE_DROP_IN}`);
    expect(await use().remove()).toBe(true);
    expect(await use().administrator()).toBe('0');
    expect(await script('sshd -T')).not.toContain(CERTIFICATE);
  }, 120_000);

  test('I6: a machine that was laid out without a token and under another name is only enrolled by the second init', async () => {
    const id = await use().asNew();
    const laid = await use().init('image', '--root-key /root/root.pub');
    expect(laid).toMatchObject({ status: 0, stdout: expect.not.stringContaining('self-test') });
    expect((await use().check()).stdout).toContain('note   host certificate: there is none');
    const done = await script(`${HOST} init --id ${id} --token-file /root/token`);
    expect(done.split('\n').filter((line) => !line.startsWith('self-test'))).toEqual([
      'file /var/lib/beacon-host/note.json',
      'file /etc/beacon/host.json',
      `file ${CERTIFICATE}`,
      `file ${CERTIFICATE_DROP_IN}`,
      '',
    ]);
    expect(await use().check()).toMatchObject({
      status: 0,
      stdout: expect.not.stringContaining('certificate: there'),
    });
    // Once it has a name it keeps it.
    await use().giveToken('other-01');
    const renamed = await use().host.exec([
      'sh',
      '-c',
      `${HOST} init --id other-01 --token-file /root/token`,
    ]);
    expect(renamed.stderr).toContain(`this machine is the host ${id}`);
    expect(await use().remove()).toBe(true);
  }, 120_000);

  test('E1: a printed script makes a host of each machine of a fleet, by one token that goes when it was used', async () => {
    const id = await use().asNew();
    await use().givePoolToken('build-[0-9]+', 2);
    const place = `--id ${id} --ca ${use().url} --root-key /root/root.pub`;
    const text = await script(`${BEACON} init ${place} --print shell`);
    expect(text).not.toContain('beacon-host-1.');
    await use().host.write('/root/enrol.sh', text);
    const run = `BEACON_HOST_ID=${id} sh /root/enrol.sh`;
    expect(await use().host.exec(['sh', '-c', run])).toMatchObject({
      status: 66,
      stderr: expect.stringContaining('/run/beacon-host-token'),
    });
    expect(await script(`cp /root/token /run/beacon-host-token; ${run}`)).toContain('self-test');
    expect(await script(`ls /run/beacon-host-token 2>/dev/null || true; ${run}`)).toBe('');
    expect(await use().check()).toMatchObject({ status: 0 });
    expect(await use().remove()).toBe(true);
    const cloud = await script(`${BEACON} init ${place} --token-file /root/token --print cloud-init`);
    expect(JSON.parse(cloud.replace('#cloud-config\n', ''))).toMatchObject({
      write_files: [{ permissions: '0700' }, { path: '/run/beacon-host-token', permissions: '0600' }],
    });
    const playbook = await script(`${BEACON} init ${place} --print ansible`);
    expect(JSON.parse(playbook.replace('---\n', ''))[0].tasks[1]).toMatchObject({ no_log: true });
  }, 120_000);
});
