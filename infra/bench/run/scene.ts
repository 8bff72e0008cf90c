/**
 * What a run is measured on: stand-in, a real CA, a broker in a process of its own and one whole lab host, made as operators
 * make them, with limits that a bench does not meet; and a person's program that asks the broker for runs.
 */
import type { BrokerApi, CaApi, RunEvent } from '@beacon/client';
import { formatPublicKeyLine, type PublicKey } from '@beacon/ssh';
import { brokerApiOf } from '../../demo/broker-stage.ts';
import { programOf } from '../../demo/checks.ts';
import { RunnerStage } from '../../demo/runner-stage.ts';

export const HOST = 'bench-01';
/** A run of many commands. */
export const FURTHER_PROCEDURE = 'bench.further';
export const FURTHER = 30;
export const WATCHED_SECONDS = 10;

/** A grant starts each command once, so there are as many. */
const NOTHINGS = Array.from({ length: FURTHER + 1 }, (_, at) => `bench.nothing-${at}`);
const NOTHING = { summary: 'Do nothing', params: {} };
const COMMANDS = {
  'bench.greet': { summary: 'Say hello', params: {} },
  'bench.nothing': NOTHING,
  'bench.stamps': { summary: 'Say the time, again and again', params: {} },
};
const ALL = { ...COMMANDS, ...Object.fromEntries(NOTHINGS.map((name) => [name, NOTHING])) };
const STAMPS = `n=0; while [ $n -lt ${WATCHED_SECONDS * 10} ]; do date +%s%N; sleep 0.1; n=$((n + 1)); done`;

export class Scene {
  readonly stage: RunnerStage;
  readonly broker: BrokerApi;
  /** As an administrator. */
  readonly ca: CaApi;
  /** As the person who asks for runs. */
  readonly own: CaApi;

  private constructor(stage: RunnerStage, broker: BrokerApi, ca: CaApi, own: CaApi) {
    this.stage = stage;
    this.broker = broker;
    this.ca = ca;
    this.own = own;
  }

  static async open(plain: PublicKey): Promise<Scene> {
    const steps = NOTHINGS.map((command) => ({ command }));
    const procedure = { summary: 'Do nothing, again and again', steps };
    const stage = await RunnerStage.open({
      host: HOST,
      commands: ALL,
      procedures: JSON.stringify({ version: 1, procedures: { [FURTHER_PROCEDURE]: procedure } }),
      lay: async (host) => {
        const how = { timeout_seconds: 120, run_as: host.runsAs };
        const nothing = { ...NOTHING, ...how, argv: ['/usr/bin/true'] };
        return {
          ...Object.fromEntries(NOTHINGS.map((name) => [name, nothing])),
          'bench.greet': { ...COMMANDS['bench.greet'], ...how, argv: ['/usr/bin/echo', 'hello'] },
          'bench.nothing': nothing,
          'bench.stamps': {
            ...COMMANDS['bench.stamps'],
            ...how,
            argv: [await host.command('bench-stamps', STAMPS)],
          },
        };
      },
    });
    try {
      await stage.host.script(`
        useradd --create-home --shell /bin/sh plain; usermod -p '*' plain; install -d -m 700 -o plain ~plain/.ssh
        printf '%s\\n' '${formatPublicKeyLine(plain)}' >~plain/.ssh/authorized_keys
        echo 'plain ALL=(root) NOPASSWD: /usr/bin/systemd-run' >/etc/sudoers.d/plain
      `);
      const broker = await brokerApiOf(stage.broker, 'lin');
      return new Scene(
        stage,
        broker,
        await programOf(stage.stage, 'ada'),
        await programOf(stage.stage, 'lin'),
      );
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  async begin(
    host: string,
    what: { readonly command: string } | { readonly procedure: string },
  ): Promise<string> {
    const { run } = await this.broker.createRun({ host, params: {}, ...what });
    return run.id;
  }

  /** Resolves with the first event of a run that is wanted. */
  async first(run: string, isWanted: (event: RunEvent) => boolean): Promise<RunEvent> {
    for await (const event of this.broker.events(run)) {
      if (isWanted(event)) return event;
      if (event.kind === 'over') throw new Error(`a run ended: ${JSON.stringify(event.data)}`);
    }
    throw new Error('the events of a run ended');
  }

  /** Until the run is over; throws when it has not succeeded. */
  async over(run: string): Promise<void> {
    const { data } = await this.first(run, ({ kind }) => kind === 'over');
    if (data['phase'] !== 'succeeded') throw new Error(`a run did not succeed: ${JSON.stringify(data)}`);
  }

  async close(): Promise<void> {
    await this.stage.close();
  }
}
