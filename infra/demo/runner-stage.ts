/**
 * Stand-in, CA, broker and one lab host that trusts them, made as operators make them, with the runner commands: what the
 * tests of whole runs stand on. The host reaches stand-in and CA, which are on loopback, by lanes.
 */
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InitHost } from '../lab/init-host.ts';
import { Lab } from '../lab/lab.ts';
import { openLane } from '../lab/lane.ts';
import { DemoBroker } from './broker-stage.ts';
import { logIn } from './login.ts';
import { offerMore, permitRunners, runnerInventory, runnerWords } from './runner-host.ts';
import { Stage } from './stage.ts';
import { makeRootKey, publishRoot, succeed } from './trust-ceremony.ts';

export interface RunnerStageOptions {
  readonly say?: (text: string) => void;
  readonly host?: string;
  /** How many runners the host has room for; 3 unless given. */
  readonly runners?: number;
  /** More commands of the inventory; lin's team may run them. */
  readonly commands?: Readonly<Record<string, object>>;
  /** Entries of the allowlist for them. */
  readonly lay?: (host: InitHost) => Promise<Record<string, object>>;
  /** The operator's own procedures. */
  readonly procedures?: string;
  /** Changes the CA's folder further before it is served. */
  readonly prepare?: (caFolder: string, stage: Stage) => Promise<void>;
}

export class RunnerStage {
  readonly stage: Stage;
  readonly broker: DemoBroker;
  readonly lab: Lab;
  readonly host: InitHost;
  readonly #closing: (() => Promise<void>)[];

  private constructor(
    parts: Pick<RunnerStage, 'stage' | 'broker' | 'lab' | 'host'>,
    closing: (() => Promise<void>)[],
  ) {
    this.stage = parts.stage;
    this.broker = parts.broker;
    this.lab = parts.lab;
    this.host = parts.host;
    this.#closing = closing;
  }

  static async open(options: RunnerStageOptions = {}): Promise<RunnerStage> {
    const { say = () => undefined, host: name = 'build-01', runners = 3, commands = {} } = options;
    const closing: (() => Promise<void>)[] = [];
    try {
      let broker: DemoBroker | undefined;
      const stage = await Stage.open(say, {
        prepare: async (caFolder, opened) => {
          const inventory = { ...runnerInventory(), ...commands };
          writeFileSync(
            join(caFolder, 'inventory.yaml'),
            JSON.stringify({ version: 1, commands: inventory }),
          );
          permitRunners(caFolder);
          permitCommands(caFolder, Object.keys(commands));
          await makeRootKey(caFolder, opened);
          broker = await DemoBroker.make(opened, caFolder);
          await options.prepare?.(caFolder, opened);
        },
      });
      closing.push(() => stage.close());
      if (broker === undefined) throw new Error('there is no broker');
      if (options.procedures !== undefined) {
        writeFileSync(join(broker.folder, 'procedures.yaml'), options.procedures);
        appendFileSync(broker.configuration, 'procedures: procedures.yaml\n');
      }
      await broker.serve();
      await logIn(stage, 'ada');
      await publishRoot(stage, 'ada');
      const lab = await Lab.temporary();
      closing.push(() => lab.down());
      const host = await InitHost.start(lab, name);
      for (const url of [stage.caUrl, stage.standin.url]) {
        const lane = await openLane(lab, name, Number(new URL(url).port));
        closing.push(() => lane.close());
      }
      const words = ['ca', 'host', 'token', name, '--address', host.target.address, '--pool', 'sites'];
      await host.lab.write('/run/token', succeed(await stage.beacon('ada', words)), { mode: 0o600 });
      const enrolling = ['--ca', stage.caUrl, '--token-file', '/run/token'];
      await host.init([...enrolling, ...runnerWords(stage.standin.url, runners)], runners);
      await offerMore(host, (await options.lay?.(host)) ?? {});
      await host.script('/usr/lib/beacon/beacon host sync');
      return new RunnerStage({ stage, broker, lab, host }, closing);
    } catch (error) {
      for (const one of closing.reverse()) await one();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const one of this.#closing.reverse()) await one();
  }
}

function permitCommands(caFolder: string, commands: readonly string[]): void {
  if (commands.length === 0) return;
  appendFileSync(
    join(caFolder, 'policy', 'policy.cedar'),
    `
@id("web-team-runs")
@max_lifetime("1h")
permit (
  principal in Team::"github:7001",
  action in [${commands.map((command) => `Action::"${command}"`).join(', ')}],
  resource in Pool::"sites"
);
`,
  );
}
