/**
 * `beacon host init|check|remove` on the image of a machine: what they write, what a kill after any step leaves, and every
 * alteration that `check` must name. sshd, sudo and the programs for accounts are the image's own.
 */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {
  applySteps,
  checkHost,
  diffPlan,
  type InitRequest,
  initHost,
  Journal,
  type Machine,
  openMachine,
  prepareHost,
  printPlan,
  removeHost,
  removeSteps,
} from '@beacon/host';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { HostImage, listTree, treeDifferences } from '../lab/host-image.ts';
import { whyNoLab } from '../lab/possible.ts';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`images of hosts are left out: ${why}\n`);

const DROP_IN = '/etc/ssh/sshd_config.d/10-beacon.conf';
const SUDO_RULE = '/etc/sudoers.d/beacon';
const TRUST = '/etc/beacon/trust/current';
const silent = { report: () => undefined };

(why === undefined ? describe : describe.skip)('a managed host in an image', () => {
  let image: HostImage;
  let machine: Machine;
  let request: InitRequest;
  let pristine: Map<string, string>;
  const tree = () => listTree(image.at('etc'));
  const init = () => initHost(machine, prepareHost(machine, { ...request, now: new Date() }), silent);
  const remove = () => removeHost(machine, { purge: true, ...silent });

  beforeAll(async () => {
    image = await HostImage.make('build-01');
    await image.buildArchive();
    machine = openMachine(image.root);
    const wish = {
      host: 'build-01',
      login: 'beacon',
      rootKey: image.rootKey,
      pools: new Map([['beacon-r', 2]]),
      ca: undefined,
    };
    request = { wish, from: image.archive, trust: await image.publish(), now: new Date() };
    pristine = tree();
  }, 120_000);
  afterAll(() => image.close());

  describe('what stands in the way is named before anything is changed', () => {
    const defects = () =>
      prepareHost(machine, request)
        .findings.filter(({ kind }) => kind === 'defect')
        .map(({ code, place }) => `${code} ${place}`);
    /** What prepareHost says while a file is otherwise, and that nothing was changed by it. */
    const whileAltered = (path: string, text: string): string[] => {
      const before = readFileSync(image.at(path));
      writeFileSync(image.at(path), text);
      try {
        const altered = tree();
        const found = defects();
        expect(treeDifferences(altered, tree())).toEqual([]);
        return found;
      } finally {
        writeFileSync(image.at(path), before);
      }
    };
    const config = () => readFileSync(image.at('/etc/ssh/sshd_config'), 'utf8');
    const INCLUDE = 'Include /etc/ssh/sshd_config.d/*.conf';

    test('I1: sshd_config includes no drop-ins', () => {
      expect(whileAltered('/etc/ssh/sshd_config', config().replace(INCLUDE, ''))).toEqual([
        'include-missing /etc/ssh/sshd_config',
      ]);
    });
    test('I1: drop-ins are included inside of a Match alone', () => {
      const text = `Match User somebody\n${config()}`;
      expect(whileAltered('/etc/ssh/sshd_config', text)).toContainEqual(
        expect.stringMatching(/^include-in-match .*line/),
      );
    });
    test('I1: a folder is included instead of its files', () => {
      const text = config().replace(INCLUDE, 'Include /etc/ssh/sshd_config.d');
      expect(whileAltered('/etc/ssh/sshd_config', text)).toEqual(['include-missing /etc/ssh/sshd_config']);
    });
    test('I1: an Include after other directives works, for a Match wins over them', () => {
      const text = `${config().replace(INCLUDE, '')}\nPasswordAuthentication no\n${INCLUDE}\n`;
      expect(whileAltered('/etc/ssh/sshd_config', text)).toEqual([]);
    });
    test.each([
      ['Match all\n  ForceCommand /usr/bin/recorder\n', 'ForceCommand'],
      ['Match User beacon\n  AuthorizedKeysFile /etc/keys/%u\n', 'AuthorizedKeysFile'],
      ['Match all\n  TrustedUserCAKeys /etc/ssh/other_ca.pub\n', 'TrustedUserCAKeys'],
    ])('I2: an earlier drop-in wins: %j', (text) => {
      const path = image.at('/etc/ssh/sshd_config.d/05-first.conf');
      writeFileSync(path, text);
      expect(defects()).toEqual(['sshd-differs /etc/ssh/sshd_config.d/05-first.conf, line 2']);
      rmSync(path);
    });
    test('AllowUsers, DenyGroups and SetEnv of the machine', () => {
      const text = `${config()}\nAllowUsers root operator\nDenyGroups beac*\nSetEnv BASH_ENV=/tmp/x\n`;
      expect(whileAltered('/etc/ssh/sshd_config', text)).toEqual([
        'allow-users AllowUsers',
        'deny-groups DenyGroups',
        'set-env SetEnv',
      ]);
    });
    test('I4: an sshd_config that is broken already', () => {
      expect(whileAltered('/etc/ssh/sshd_config', `${config()}\nNonsense yes\n`)).toEqual([
        'sshd-broken sshd',
      ]);
    });
    test('sudo does not read its folder', () => {
      expect(whileAltered('/etc/sudoers', 'root ALL=(ALL:ALL) ALL\n')).toEqual([
        'sudoers-folder /etc/sudoers',
      ]);
    });
    test('an account of the same name that is somebody else', async () => {
      machine.run(['useradd', '--system', '--shell', '/bin/bash', 'beacon-setup']);
      await expect(init()).rejects.toMatchObject({
        code: 'rolled-back',
        cause: { code: 'cannot-work-here' },
      });
      machine.run(['userdel', 'beacon-setup']);
      expect(machine.run(['id', 'beacon']).status).toBe(1);
      expect(
        treeDifferences(pristine, tree()).filter(
          (line) => !/^(passwd|shadow|group|gshadow)-|^.pwd.lock/.test(line),
        ),
      ).toEqual([]);
      // The copies that useradd made are this test's own; they are part of what was there before, from now on.
      pristine = tree();
    });
  });

  test.each([
    ['B5', 'a status of another root', { status: { rootVersion: 2 } }, 'trust-refused'],
    [
      'K2',
      'an empty revocation list',
      {
        krl: Buffer.alloc(0),
        status: {
          krl: { sha256: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', bytes: 1 },
        },
      },
      'trust-refused',
    ],
    ['B3', 'an expired status', { status: { issued: new Date(0), expires: new Date(1) } }, 'trust-stale'],
    ['B3', 'a status of the future', { status: { issued: new Date(Date.now() + 3_600_000) } }, 'clock-wrong'],
    ['B5', 'a root for other hosts', { root: { hosts: 'other' } }, 'trust-refused'],
  ] as const)('%s: refuses to begin with %s', async (_row, _what, changes, code) => {
    const trust = await image.publish(changes);
    expect(() => prepareHost(machine, { ...request, trust })).toThrow(expect.objectContaining({ code }));
  });

  test('E4: refuses to begin with documents that the pinned key has not signed', async () => {
    const trust = await image.publish({ signRootWith: image.ca.statusKey });
    expect(() => prepareHost(machine, { ...request, trust })).toThrow(
      expect.objectContaining({ code: 'trust-refused' }),
    );
  });

  test('shows a plan as a diff and as scripts for fleets, and changes nothing', () => {
    const prepared = prepareHost(machine, request);
    const diff = diffPlan(machine, prepared.steps);
    expect(diff).toContain(
      '+ account beacon: system, no password, home /var/lib/beacon-login, shell /usr/lib/beacon/shell',
    );
    expect(diff).toContain('+    ForceCommand none');
    const script = printPlan(prepared, 'shell');
    expect(script).toContain('./install --id "$id" --login beacon --accounts beacon-r=2 --root-key');
    expect(machine.run(['sh', '-n'], script)).toMatchObject({ status: 0, stderr: '' });
    expect(JSON.parse(printPlan(prepared, 'cloud-init').replace('#cloud-config\n', ''))).toMatchObject({
      write_files: [{ content: Buffer.from(script).toString('base64') }],
    });
    expect(JSON.parse(printPlan(prepared, 'ansible').replace('---\n', ''))).toMatchObject([{ become: true }]);
    expect(treeDifferences(pristine, tree())).toEqual([]);
  });

  test('I6: a second init changes nothing, check is clean, and remove leaves /etc byte for byte as before', async () => {
    await init();
    const made = tree();
    expect(checkHost(machine, new Date())).toEqual([]);
    expect(diffPlan(machine, prepareHost(machine, { ...request, trust: undefined }).steps)).toEqual([]);
    await init();
    expect(treeDifferences(made, tree())).toEqual([]);
    await remove();
    expect(treeDifferences(pristine, tree())).toEqual([]);
    expect(
      ['/usr/lib/beacon', '/var/lib/beacon', '/var/lib/beacon-host', '/var/lib/beacon-login'].filter(
        (path) => machine.run(['test', '-e', path]).status === 0,
      ),
    ).toEqual([]);
    await expect(remove()).rejects.toMatchObject({ code: 'not-a-host' });
  });

  /** Begins as a second init would, and stops as a kill does, after so many steps; the number of those that were done. */
  const initKilledAfter = (most: number): number => {
    const { steps } = prepared;
    const journal = Journal.open(machine);
    let done = 0;
    for (const _line of applySteps(machine, journal, steps)) if (++done === most) break;
    return done;
  };
  let prepared: ReturnType<typeof prepareHost>;

  test('I4, I5: killed after every single step, each init goes on where the one before was, and sshd accepts all of it', async () => {
    prepared = prepareHost(machine, request);
    let kills = 0;
    for (; initKilledAfter(1) === 1; kills++) expect(machine.run(['sshd', '-t']).status).toBe(0);
    expect(kills).toBe(prepared.steps.length - 1);
    await init();
    expect(checkHost(machine, new Date())).toEqual([]);
    await remove();
    expect(treeDifferences(pristine, tree())).toEqual([]);
  }, 120_000);

  test('I4, E5: killed after a step, remove leaves /etc byte for byte as before', async () => {
    const last = prepared.steps.length - 1;
    for (const kill of [1, 2, 4, 8, 16, last - 9, last - 1, last]) {
      expect(initKilledAfter(kill)).toBe(kill);
      expect(machine.run(['visudo', '-cq']).status).toBe(0);
      await remove();
      expect({ kill, differences: treeDifferences(pristine, tree()) }).toEqual({ kill, differences: [] });
    }
  }, 120_000);

  test('I4: remove killed after any step: sshd goes on, and a second one completes', async () => {
    await init();
    let kills = 0;
    for (let at = 1; ; at += 5) {
      let done = 0;
      for (const line of removeSteps(machine)) {
        expect(line).toBeDefined();
        if (++done === at) break;
      }
      expect(machine.run(['sshd', '-t']).status).toBe(0);
      expect(readFileSync(image.at('/etc/ssh/sshd_config'), 'utf8')).toContain('Include');
      if (done < at) break;
      kills++;
    }
    expect(kills).toBeGreaterThan(5);
    expect(treeDifferences(pristine, tree())).toEqual([]);
    rmSync(image.at('/var/lib/beacon'), { recursive: true, force: true });
  }, 120_000);

  test('a set-up that fails at its end is taken back, and one that worked before goes on', async () => {
    const gate = `${image.archive}/gate.js`;
    const text = readFileSync(gate);
    const broken = () => {
      writeFileSync(gate, 'process.exit(70)');
      return init().finally(() => writeFileSync(gate, text));
    };
    await expect(broken()).rejects.toMatchObject({ code: 'rolled-back', cause: { code: 'step-failed' } });
    expect(treeDifferences(pristine, tree())).toEqual([]);
    await init();
    await expect(broken()).rejects.toMatchObject({ code: 'rolled-back' });
    expect(checkHost(machine, new Date())).toEqual([]);
    const stopped = new AbortController();
    stopped.abort();
    await remove();
    const prepared = prepareHost(machine, request);
    await expect(initHost(machine, prepared, { ...silent, signal: stopped.signal })).rejects.toMatchObject({
      code: 'rolled-back',
      cause: { code: 'stopped' },
    });
    expect(treeDifferences(pristine, tree())).toEqual([]);
  }, 120_000);

  describe('check names each alteration with its remedy', () => {
    beforeAll(init, 120_000);
    afterAll(remove);

    const edit = (path: string, change: (text: string) => string) => () => {
      const before = readFileSync(image.at(path));
      writeFileSync(image.at(path), change(before.toString('utf8')));
      return () => writeFileSync(image.at(path), before);
    };
    const editBytes = (path: string, change: (bytes: Buffer) => Buffer) => () => {
      const before = readFileSync(image.at(path));
      writeFileSync(image.at(path), change(before));
      return () => writeFileSync(image.at(path), before);
    };
    const add =
      (path: string, text: string, mode = 0o644) =>
      () => {
        writeFileSync(image.at(path), text, { mode });
        return () => rmSync(image.at(path));
      };
    const mode = (path: string, to: number, back: number) => () => {
      chmodSync(image.at(path), to);
      return () => chmodSync(image.at(path), back);
    };
    const away = (path: string) => () => {
      renameSync(image.at(path), image.at('/root/away'));
      return () => renameSync(image.at('/root/away'), image.at(path));
    };
    const run = (change: string, back: string) => () => {
      expect(machine.run(['sh', '-ec', change])).toMatchObject({ status: 0 });
      return () => expect(machine.run(['sh', '-ec', back])).toMatchObject({ status: 0 });
    };
    const trustFile = (name: string) => `/etc/beacon/trust/1-1/${name}`;

    const alterations: [name: string, alter: () => () => unknown, code: string, place: string | RegExp][] = [
      ['/etc/beacon may be written by a group', mode('/etc/beacon', 0o775, 0o755), 'mode', '/etc/beacon'],
      [
        '/usr/lib/beacon belongs to the login',
        run('chown beacon /usr/lib/beacon', 'chown root /usr/lib/beacon'),
        'owner',
        '/usr/lib/beacon',
      ],
      ['G14: /usr/lib may be written by a group', mode('/usr/lib', 0o775, 0o755), 'mode', '/usr/lib'],
      [
        'the allowlist may be written by all',
        mode('/etc/beacon/allowlist.json', 0o666, 0o644),
        'mode',
        '/etc/beacon/allowlist.json',
      ],
      [
        'the allowlist is no JSON',
        edit('/etc/beacon/allowlist.json', (text) => text.slice(1)),
        'json-syntax',
        '/etc/beacon/allowlist.json',
      ],
      [
        'the allowlist has an unknown key',
        edit('/etc/beacon/allowlist.json', (text) => text.replace('"commands"', '"comands"')),
        'allowlist-malformed',
        '/etc/beacon/allowlist.json',
      ],
      [
        'the allowlist is missing',
        away('/etc/beacon/allowlist.json'),
        'missing',
        '/etc/beacon/allowlist.json',
      ],
      [
        'the allowlist names a program that is not there',
        edit(
          '/etc/beacon/allowlist.json',
          () =>
            '{"version":1,"commands":{"a.b":{"summary":"s","argv":["/usr/lib/beacon/commands/gone"],"params":{},"timeout_seconds":9,"run_as":"beacon-setup"}}}',
        ),
        'command',
        '/etc/beacon/allowlist.json',
      ],
      [
        'the host has another name',
        edit('/etc/beacon/host.json', (text) => text.replace('build-01', 'build-02')),
        'differs',
        '/etc/beacon/host.json',
      ],
      [
        'the principals script was changed',
        edit('/usr/lib/beacon/principals', (text) => text.replace('exit 1', 'exit 0')),
        'differs',
        '/usr/lib/beacon/principals',
      ],
      [
        'the principals script may be written by all',
        mode('/usr/lib/beacon/principals', 0o777, 0o755),
        'mode',
        '/usr/lib/beacon/principals',
      ],
      [
        "the login's shell was changed",
        edit('/usr/lib/beacon/shell', (text) => `${text}# \n`),
        'differs',
        '/usr/lib/beacon/shell',
      ],
      [
        'the gate may not be executed',
        mode('/usr/lib/beacon/gate', 0o644, 0o755),
        'mode',
        '/usr/lib/beacon/gate',
      ],
      ['the runtime is missing', away('/usr/lib/beacon/node'), 'missing', '/usr/lib/beacon/node'],
      ['the drop-in is missing', away(DROP_IN), 'missing', DROP_IN],
      [
        'a line of the drop-in is missing',
        edit(DROP_IN, (text) => text.replace('    ForceCommand none\n', '')),
        'differs',
        DROP_IN,
      ],
      [
        'a line of the drop-in is otherwise',
        edit(DROP_IN, (text) => text.replace('PermitTTY no', 'PermitTTY yes')),
        'sshd-differs',
        'PermitTTY',
      ],
      ['the drop-in may be written by all', mode(DROP_IN, 0o666, 0o644), 'mode', DROP_IN],
      [
        'I2: an earlier drop-in with a key command wins',
        add(
          '/etc/ssh/sshd_config.d/00-a.conf',
          'Match all\nAuthorizedKeysCommand /usr/bin/keys\nAuthorizedKeysCommandUser nobody\n',
        ),
        'sshd-differs',
        /00-a[.]conf, line 2$/,
      ],
      [
        'I2: an earlier drop-in with a forced command wins',
        add('/etc/ssh/sshd_config.d/00-a.conf', 'Match User bea*\nForceCommand /bin/bash\n'),
        'sshd-differs',
        /00-a[.]conf, line 2$/,
      ],
      [
        'I1: the Include was removed',
        edit('/etc/ssh/sshd_config', (text) => text.replace(/^Include.*$/m, '')),
        'include-missing',
        '/etc/ssh/sshd_config',
      ],
      [
        'I1: a Match stands before the Include',
        edit('/etc/ssh/sshd_config', (text) => `Match User x\n${text}`),
        'include-in-match',
        /sshd_config, line/,
      ],
      [
        'sshd refuses its configuration',
        add('/etc/ssh/sshd_config.d/99-z.conf', 'Nonsense yes\n'),
        'sshd-broken',
        'sshd',
      ],
      [
        'AllowGroups leaves the login out',
        add('/etc/ssh/sshd_config.d/99-z.conf', 'AllowGroups sudo\n'),
        'allow-groups',
        'AllowGroups',
      ],
      [
        'DenyUsers names the login',
        add('/etc/ssh/sshd_config.d/99-z.conf', 'DenyUsers beacon\n'),
        'deny-users',
        'DenyUsers',
      ],
      [
        'sshd sets variables for every login',
        add('/etc/ssh/sshd_config.d/99-z.conf', 'SetEnv LD_PRELOAD=/tmp/x.so\n'),
        'set-env',
        'SetEnv',
      ],
      [
        'files in homes set variables',
        add('/etc/ssh/sshd_config.d/99-z.conf', 'PermitUserEnvironment yes\n'),
        'user-environment',
        'PermitUserEnvironment',
      ],
      [
        'certificates are not accepted',
        add('/etc/ssh/sshd_config.d/99-z.conf', 'PubkeyAcceptedAlgorithms ssh-ed25519\n'),
        'accepted-algorithms',
        'PubkeyAcceptedAlgorithms',
      ],
      ['the sudo rule is missing', away(SUDO_RULE), 'missing', SUDO_RULE],
      ['the sudo rule may be read by all', mode(SUDO_RULE, 0o444, 0o440), 'mode', SUDO_RULE],
      [
        'G16: a later sudoers file gives more',
        add('/etc/sudoers.d/zz', 'beacon ALL=(ALL) NOPASSWD: ALL\n', 0o440),
        'sudo',
        'sudo',
      ],
      [
        'a later sudoers file takes the gate away',
        add('/etc/sudoers.d/zz', 'beacon ALL=(ALL) !ALL\n', 0o440),
        'sudo',
        'sudo',
      ],
      [
        'a later sudoers file records what the gate reads',
        add('/etc/sudoers.d/zz', 'Defaults!/usr/lib/beacon/gate log_input\n', 0o440),
        'sudo',
        'sudo',
      ],
      [
        'I7: the login is locked',
        run("usermod -p '!' beacon", "usermod -p '*' beacon"),
        'account',
        'account beacon',
      ],
      [
        'I7: the login has another shell',
        run('usermod -s /bin/bash beacon', 'usermod -s /usr/lib/beacon/shell beacon'),
        'account',
        'account beacon',
      ],
      [
        'the login has expired',
        run('chage -E 2020-01-01 beacon', 'chage -E -1 beacon'),
        'account',
        'account beacon',
      ],
      [
        'the login is in the group sudo',
        run('usermod -a -G sudo beacon', 'gpasswd -d beacon sudo'),
        'account',
        'account beacon',
      ],
      [
        'I7: the login has another home',
        run('usermod -d /tmp beacon', 'usermod -d /var/lib/beacon-login beacon'),
        'account',
        'account beacon',
      ],
      [
        'an account of the pool is missing',
        run(
          'userdel beacon-r-2',
          'useradd --system -U -M -d /nonexistent -s /usr/sbin/nologin beacon-r-2; usermod -p "*" beacon-r-2',
        ),
        'account-missing',
        'account beacon-r-2',
      ],
      [
        'two accounts share a uid',
        run('usermod -o -u "$(id -u beacon)" beacon-setup', 'usermod -u 987 beacon-setup'),
        'account',
        'account beacon',
      ],
      [
        'G11: something lies in the home of the login',
        run('mkdir /var/lib/beacon-login/.ssh', 'rmdir /var/lib/beacon-login/.ssh'),
        'account',
        'account beacon',
      ],
      [
        'the home of the login is its own',
        run('chown beacon /var/lib/beacon-login', 'chown root /var/lib/beacon-login'),
        'owner',
        '/var/lib/beacon-login',
      ],
      ['the link of the trust documents is missing', away(TRUST), 'trust-missing', TRUST],
      [
        'K2: the revocation list is cut',
        editBytes(trustFile('krl'), (bytes) => bytes.subarray(0, 44)),
        'trust-refused',
        TRUST,
      ],
      [
        'K2: the revocation list is empty',
        editBytes(trustFile('krl'), () => Buffer.alloc(0)),
        'trust-refused',
        TRUST,
      ],
      [
        'B12: the trust root has another order',
        edit(trustFile('root.json'), (text) =>
          text.replace('"v":1,"kind":"trust-root"', '"kind":"trust-root","v":1'),
        ),
        'trust-refused',
        TRUST,
      ],
      [
        'B12: the trust status has white space',
        edit(trustFile('status.json'), (text) => `${text} `),
        'trust-refused',
        TRUST,
      ],
      ['the signature of the root is missing', away(trustFile('root.json.sig')), 'trust-refused', TRUST],
      [
        'sshd trusts another CA than the root names',
        edit(trustFile('user_ca.pub'), (text) => `${text}${text}`),
        'differs',
        `${TRUST}/user_ca.pub`,
      ],
      [
        'the revocation list may be written by all',
        mode(trustFile('krl'), 0o666, 0o644),
        'mode',
        `${TRUST}/krl`,
      ],
      [
        'B11: the gate has used newer documents',
        run(
          'printf \'{"root":1,"root_sha256":"x","status":9,"status_sha256":"y"}\' >/var/lib/beacon/trust-floor.json',
          'rm /var/lib/beacon/trust-floor.json',
        ),
        'trust-went-back',
        'trust documents',
      ],
      ['only root may log in', add('/etc/nologin', 'maintenance\n'), 'nologin', '/etc/nologin'],
      [
        'a rule of pam_access refuses the login',
        run(
          'echo "account required pam_access.so" >>/etc/pam.d/sshd; echo "-:ALL EXCEPT root:ALL" >/etc/security/access.conf.new; cp /etc/security/access.conf /root/access; cat /etc/security/access.conf.new >>/etc/security/access.conf; rm /etc/security/access.conf.new',
          'sed -i "\\$d" /etc/pam.d/sshd; cat /root/access >/etc/security/access.conf; rm /root/access',
        ),
        'pam-access',
        '/etc/security/access.conf',
      ],
      [
        'set-up was broken off',
        run(
          'cp /var/lib/beacon-host/journal /root/journal; sed -i "\\$d" /var/lib/beacon-host/journal',
          'cat /root/journal >/var/lib/beacon-host/journal; rm /root/journal',
        ),
        'unfinished',
        'beacon host init',
      ],
    ];

    test.each(alterations)('%s', (_name, alter, code, place) => {
      const restore = alter();
      try {
        const found = checkHost(machine, new Date()).filter((one) => one.kind === 'defect');
        const at = typeof place === 'string' ? place : expect.stringMatching(place);
        expect(found).toContainEqual(
          expect.objectContaining({ code, place: at, remedy: expect.stringMatching(/\S/) }),
        );
      } finally {
        restore();
      }
    });

    test.each([
      ['B3: the trust status has expired', 25, 'trust-stale'],
      ['the clock is wrong by a day', -24, 'clock-wrong'],
    ])('%s', (_name, hours, code) => {
      const found = checkHost(machine, new Date(Date.now() + hours * 3_600_000));
      expect(found).toContainEqual(expect.objectContaining({ kind: 'defect', code }));
    });

    test('at three quarters of its life the status is a note, and after all of this the host is in order', () => {
      const late = checkHost(machine, new Date(Date.now() + 20 * 3_600_000));
      expect(late).toEqual([
        expect.objectContaining({ kind: 'note', code: 'trust-old', place: 'trust status' }),
      ]);
      expect(checkHost(machine, new Date())).toEqual([]);
    });

    test('I8: a link in an image does not lead out of it', () => {
      mkdirSync(image.at('/root/links'), { recursive: true });
      symlinkSync('/etc', image.at('/root/links/etc'));
      chownSync(image.at('/root/links'), 0, 0);
      expect(machine.at('/root/links/etc/passwd')).toBe(image.at('/etc/passwd'));
      rmSync(image.at('/root/links'), { recursive: true });
    });
  });
});
