/**
 * Where faults are tried: a broker, a CA, the stand-in and a host with room for runners. Each try has a repository of its
 * own at the stand-in, so that several go on at once and a fault strikes one of them alone.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerApi, Run, RunOrder } from '@beacon/client';
import { type FaultEndpoint, type FaultMode, namedFault, runnerArchive } from '@beacon/github-standin';
import { loginAt } from '../demo/broker-stage.ts';
import { RunnerStage } from '../demo/runner-stage.ts';
import type { InitHost } from '../lab/init-host.ts';

const ORGANIZATION = 7000;
const TEAM = 7001;
const LIN = 102;
/** So many rows have a runner at once. */
export const RUNNERS = 6;

export interface FaultStage {
  readonly opened: RunnerStage;
  readonly lin: Person;
}

export interface Person {
  readonly id: number;
  readonly login: string;
  readonly api: BrokerApi;
  /** Ends this login, as a log-out does. */
  readonly logOut: () => Promise<void>;
}

/** What one row has to itself. */
export class RowStage {
  readonly opened: RunnerStage;
  /** The repository's name, and what runners of this row are called. */
  readonly name: string;
  /** When something of the row's own began. */
  began = 0;
  #person: Person;
  readonly #repository: number;
  readonly #mends: (() => void)[] = [];

  constructor({ opened, lin }: FaultStage, name: string, person = lin) {
    this.opened = opened;
    this.name = name;
    this.#person = person;
    const repository = this.state.runners.addRepository({ owner: ORGANIZATION, name });
    repository.roles.set(person.id, 'admin');
    this.#repository = repository.id;
  }

  get person(): Person {
    return this.#person;
  }

  /** As the person, by their newest login. */
  get api(): BrokerApi {
    return this.#person.api;
  }

  get state() {
    return this.opened.stage.standin.state;
  }

  get host(): InitHost {
    return this.opened.host;
  }

  get scope(): string {
    return `example/${this.name}`;
  }

  /** What a person would say to have a runner, with version and digest, so that GitHub is not asked for those. */
  get params(): Readonly<Record<string, string>> {
    const version = this.state.runners.versions.at(-1) ?? '';
    const { sha256 } = runnerArchive(version, 'x64');
    return { scope: this.scope, name: this.name, mode: 'stays', version, sha256 };
  }

  /** The runners that the stand-in has for this repository. */
  get atGitHub() {
    return this.state.runners.inScope({ kind: 'repository', id: this.#repository });
  }

  /** GitHub fails so wherever this repository is asked for; answers what mends it. */
  fault(
    endpoint: FaultEndpoint,
    mode: FaultMode,
    more: { times?: number; seconds?: number } = {},
  ): () => void {
    const fault = namedFault({ endpoint, mode, seconds: 1, ...more });
    const own = [fault.path]
      .flat()
      .map((path) => path.replace('/repos/*/*/', `/repos/example/${this.name}/`));
    const mend = this.state.fault({ ...fault, path: own });
    this.#mends.push(mend);
    return mend;
  }

  /** A runner of this repository that Beacon did not make, or a job for one that it did. */
  addRunner(labels: readonly string[]): number {
    const version = this.state.runners.versions.at(-1) ?? '';
    const wanted = { name: this.name, labels, group: undefined, version, hasDefaultLabels: true };
    return this.state.runners.register(
      { kind: 'repository', id: this.#repository },
      { ...wanted, isEphemeral: false },
    ).id;
  }

  async logInAnew(): Promise<void> {
    this.#person = await logIn(this.opened, this.#person);
  }

  /** Mends all that fails. */
  mend(): void {
    for (const mend of this.#mends.splice(0)) mend();
  }

  /** Mends all that fails, and has taken away what is still there. */
  async clear(): Promise<void> {
    this.mend();
    const { runners } = this.state;
    for (const { id, job } of this.atGitHub) if (job === undefined) runners.remove(id);
    for (const command of ['runner.stop', 'runner.remove'])
      await this.finish({ command, params: { name: this.name } });
  }

  /** Has a run, and waits for its end. */
  async finish(what: Pick<RunOrder, 'params'> & ({ command: string } | { procedure: string })): Promise<Run> {
    const { run } = await this.api.createRun({ host: this.host.target.name, ...what });
    for await (const { kind } of this.api.events(run.id)) if (kind === 'over') break;
    return this.api.run(run.id);
  }

  /** Waits until GitHub was asked so for this repository. */
  async untilAsked(request: string): Promise<void> {
    const [method = '', end = ''] = request.split(' ');
    const wanted = `${method} /repos/example/${this.name}/actions/runners${end}`;
    for (let tries = 0; tries < 400; tries++) {
      if (this.state.requests.includes(wanted)) return;
      await sleep(25);
    }
    throw new Error(`GitHub was not asked ${wanted}`);
  }

  giveJob(script: string): void {
    this.state.runners.queueJob({
      scope: { kind: 'repository', id: this.#repository },
      labels: ['self-hosted'],
      script,
    });
  }
}

export async function openFaultStage(say: (text: string) => void = () => undefined): Promise<FaultStage> {
  const opened = await RunnerStage.open({ say, runners: RUNNERS });
  try {
    return { opened, lin: await logIn(opened, { id: LIN, login: 'lin' }) };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Another member of the team, logged in, for rows in which something befalls the person. */
export async function newPerson({ opened }: FaultStage, login: string): Promise<Person> {
  const { state } = opened.stage.standin;
  const { id } = state.addPerson({ login });
  state.setMember(ORGANIZATION, id, 'active');
  state.setTeamMember(TEAM, id, true);
  return logIn(opened, { id, login });
}

async function logIn({ broker }: RunnerStage, { id, login }: Pick<Person, 'id' | 'login'>): Promise<Person> {
  const { api, ca } = await loginAt(broker, login);
  const logOut = async () => void (await ca.endSession((await ca.whoami()).session.id));
  return { id, login, api, logOut };
}

/** Takes the person out of the team, which nobody but GitHub knows at first. */
export function leaveTeam({ state, person }: RowStage): void {
  state.setTeamMember(TEAM, person.id, false);
}
