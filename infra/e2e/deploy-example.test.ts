/**
 * The example of a procedure of one's own (docs/procedures.md) on a managed host, through its gate: planned whole against
 * the host's list, deployed, and taken back when the new release does not answer. In Docker's place is a program that
 * writes down what it was asked.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { type HostCommand, type Procedure, planProcedure, readProcedures } from '@beacon/broker';
import { parseAllowlist } from '@beacon/protocol/allowlist';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { GateConnection } from '../lab/gate-connection.ts';
import { GateHost } from '../lab/gate-host.ts';
import { Lab } from '../lab/lab.ts';
import { whyNoLab } from '../lab/possible.ts';
import { invocation } from '../lab/throw-away-ca.ts';

const EXAMPLE = join(import.meta.dirname, '../../docs/examples/deploy');
const PROGRAMS = '/usr/local/lib/deploy';
const PASSWORD = 'correct-horse-battery';
const APP = '/srv/deploy/shop';

const why = whyNoLab();
if (why !== undefined) process.stderr.write(`left out: the example of a procedure: ${why}\n`);

const shipped = readFileSync(join(EXAMPLE, 'allowlist.json'), 'utf8');

/** As the CA lists what a host reported. */
const offered: readonly HostCommand[] = [...parseAllowlist(Buffer.from(shipped)).commands.values()].map(
  ({ name, parameters, undo, timeoutSeconds }) => ({
    command: name,
    params: Object.fromEntries(
      [...parameters].map(([key, { pattern, isSecret }]) => [
        key,
        { pattern: pattern.source, secret: isSecret },
      ]),
    ),
    undo,
    timeout_seconds: timeoutSeconds,
  }),
);

function plan(revision: string) {
  const procedure = readProcedures(join(EXAMPLE, 'procedures.yaml')).get('deploy') as Procedure;
  const params = { app: 'shop', revision };
  return planProcedure(procedure, {
    ...{ host: 'build-01', params, secretNames: ['database_password'], commands: offered },
  });
}

test('the example is one that a host with its list can do, whole', () => {
  expect(plan('a'.repeat(40))).toMatchObject({ kind: 'planned', params: { app: 'shop' } });
  expect(plan('main')).toMatchObject({
    kind: 'refused',
    reason: expect.stringMatching(/^deploy\.revision: its value does not match .*the commit, in full/),
  });
});

(why === undefined ? describe : describe.skip)('the example on a host', () => {
  let lab: Lab;
  let host: GateHost;
  let application: Server;
  let isWell = true;

  beforeAll(async () => {
    lab = await Lab.temporary();
    host = await GateHost.boot(lab, 'build-01');
    application = createServer((_, response) => response.writeHead(isWell ? 200 : 503).end());
    const address = await lab.address();
    await new Promise<void>((resolve) => application.listen(0, address, resolve));
    const bound = application.address();
    const port = typeof bound === 'object' ? bound?.port : 0;
    await host.lab.run(['mkdir', '-p', PROGRAMS]);
    for (const name of readdirSync(join(EXAMPLE, 'commands'))) {
      await host.lab.copyIn(join(EXAMPLE, 'commands', name), `${PROGRAMS}/${name}`, { mode: 0o755 });
    }
    await host.lab.write(
      `${PROGRAMS}/docker`,
      `#!/bin/sh\nprintf '%s in %s' "$*" "\${PWD##*/}" | tee -a ${APP}/asked; echo | tee -a ${APP}/asked\n` +
        `case $* in *migrate) IFS= read -r line; [ "$line" = ${PASSWORD} ] ;; esac\n`,
      { mode: 0o755 },
    );
    await host.lab.write(
      '/etc/beacon/allowlist.json',
      shipped
        .replace('/usr/bin/docker', `${PROGRAMS}/docker`)
        .replace('http://127.0.0.1:8080', `http://${address}:${port}`)
        // One try is enough here.
        .replaceAll('"timeout_seconds": 90', '"timeout_seconds": 3'),
    );
    await host.script(`
      useradd --system --no-create-home deploy
      mkdir -p ${APP} /srv/origin; chown deploy ${APP} /srv/origin
      setpriv --reuid=deploy --clear-groups sh -euc '
        export HOME=/srv/origin; cd /srv/origin
        git init --quiet --initial-branch=main .; git config user.name x; git config user.email x@example.org
        for step in 1 2; do echo "services: {}" >compose.yaml; echo $step >step; git add .; git commit --quiet -m $step; done
        git clone --quiet --bare /srv/origin ${APP}/repository.git
      '`);
  }, 120_000);
  afterAll(async () => {
    application?.close();
    await lab.down();
  });

  /** The whole of it in one session, as a run has it. */
  async function deploy(revision: string) {
    const planned = plan(revision);
    if (planned.kind === 'refused') throw new Error(planned.reason);
    const asked = planned.steps.map(({ command, params, secretNames, undo }) => ({
      asked: invocation(command, params, Object.fromEntries(secretNames.map((name) => [name, PASSWORD]))),
      ...(undo === undefined ? {} : { undo: invocation(undo.command, undo.params) }),
    }));
    const connection = await GateConnection.open(host.lab, await host.ca.certify(asked));
    const codes: unknown[] = [];
    for (const one of asked) {
      const answer = await connection.run(one);
      codes.push(answer.code);
      if (answer.code !== 0) break;
    }
    await connection.end();
    const undone = connection.events.flatMap((event) =>
      event.event === 'undone' ? [`${event.command} ${event.code}`] : [],
    );
    return { codes, undone, errors: connection.output('stderr') };
  }
  const asked = async (): Promise<string[]> => {
    const said = (await host.script(`cat ${APP}/asked; : >${APP}/asked`)).trim().split('\n');
    return said.map((line) => line.replace('compose --project-name shop ', ''));
  };

  test('comes into service, and a second one that does not answer leaves the first where it was', async () => {
    const [second = '', first = ''] = (
      await host.script('git -c safe.directory=* -C /srv/origin log --format=%H')
    )
      .trim()
      .split('\n');
    expect(await deploy(first)).toMatchObject({ codes: [0, 0, 0, 0, 0, 0], undone: [] });
    expect(await asked()).toEqual([
      ...['build', 'up --detach', 'run --rm --no-TTY migrate'].map((words, at) =>
        at === 1 ? `${words} in current` : `${words} in ${first}`,
      ),
    ]);
    isWell = false;
    const failed = await deploy(second);
    expect(failed.codes.slice(0, 5)).toEqual([0, 0, 0, 0, 0]);
    expect(failed.codes[5]).not.toBe(0);
    expect(failed.undone).toEqual(['deploy.back 0', 'deploy.restore 0']);
    expect(await asked()).toEqual([
      `build in ${second}`,
      'down in current',
      'up --detach in current',
      `run --rm --no-TTY migrate in ${second}`,
      'down in current',
      'up --detach in current',
    ]);
    expect(await host.script(`readlink ${APP}/current; cat ${APP}/current/step`)).toBe(
      `releases/${first}\n1\n`,
    );
    const leaked = await host.lab.exec(['grep', '-rlF', '--', PASSWORD, '/srv', '/etc', '/var', '/run']);
    expect(leaked.stdout).toBe('');
  }, 60_000);
});
