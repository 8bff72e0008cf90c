/**
 * The procedures that every broker has: a GitHub runner's life on a host, by docs/runner.md. Values only; the host's
 * commands do the work, and a host without them is said so before the first.
 *
 * An upgrade is a second runner under a new name, for draining takes the first away at GitHub, and a registration that
 * is gone there is used by nobody again. The new one's account and programs come first, where most goes wrong, and the
 * old one is touched only when they are there.
 */
import { compilePattern } from '@beacon/protocol/pattern';
import {
  type Procedure,
  type ProcedureParameter,
  type ProcedureStep,
  REGISTRATION_SECRET,
  WAIT_PARAMETER,
  type WhenAbsent,
} from './procedure.ts';
import type { Preparation } from './run-state.ts';

/** Every runner of ours has it at GitHub; one without it is never touched. */
export const OUR_LABEL = 'beacon';
/** How long a busy runner is waited for where the person does not say. */
export const DEFAULT_WAIT_SECONDS = 30;

const REQUIRED: WhenAbsent = { take: 'nothing' };
const given = (value: string): WhenAbsent => ({ take: 'value', value });
const fromGitHub = (what: 'version' | 'sha256' | 'labels' | 'group'): WhenAbsent => ({
  take: 'github',
  what,
});

function parameter(pattern: string, summary: string, whenAbsent: WhenAbsent = REQUIRED): ProcedureParameter {
  return { summary, pattern: compilePattern(pattern), isSecret: false, whenAbsent };
}

const NAME = '[a-z0-9][a-z0-9-]{0,62}';
const scope = parameter(
  '[A-Za-z0-9][A-Za-z0-9-]{0,38}(/[A-Za-z0-9._-]{1,100})?',
  'where at GitHub the runner works: OWNER/REPOSITORY, or an organisation',
);
const arch = parameter('x64|arm64|arm', "the host's architecture", given('x64'));
const version = parameter(
  '[0-9]{1,4}[.][0-9]{1,6}[.][0-9]{1,6}',
  "the runner's version; the newest that GitHub offers where none is named",
  fromGitHub('version'),
);
const sha256 = parameter(
  '[0-9a-f]{64}',
  "the SHA-256 of the runner's archive; GitHub's own word where none is named",
  fromGitHub('sha256'),
);
/** A host takes 255 characters; the run's own mark is added (`runner-mark.ts`). */
const LABELS = '[A-Za-z0-9][A-Za-z0-9.,_-]{0,226}';
const GROUP = '[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}';
const waitSeconds = parameter(
  '[0-9]|[1-3][0-9]|40',
  'how long a runner that has a job is waited for, in seconds, 40 at most: the gate waits no longer than a minute',
  given(String(DEFAULT_WAIT_SECONDS)),
);

function step(
  command: string,
  params: Readonly<Record<string, string>>,
  more: { readonly preparation?: Preparation; readonly undo?: string } = {},
): ProcedureStep {
  const { preparation = 'none', undo } = more;
  return {
    command,
    preparation,
    params,
    secrets: preparation === 'register' ? [REGISTRATION_SECRET] : [],
    undo: undo === undefined ? undefined : { command: undo, params: { name: params['name'] ?? '' } },
  };
}

/** The steps that make a runner of that name, up to where GitHub is told. */
function prepareSteps(name: string): ProcedureStep[] {
  return [
    step('runner.preflight', { name, arch: '{arch}' }, { undo: 'runner.remove' }),
    step('runner.install', { name, version: '{version}', arch: '{arch}', sha256: '{sha256}' }),
  ];
}

/** Registers it, starts it, and looks at it when GitHub shows it online. */
function beginSteps(name: string, mode: string): ProcedureStep[] {
  return [
    step(
      'runner.configure',
      { name, scope: '{scope}', labels: '{labels}', group: '{group}', mode },
      { preparation: 'register', undo: 'runner.remove' },
    ),
    step('runner.start', { name }, { undo: 'runner.stop' }),
    step('runner.status', { name }, { preparation: 'online' }),
  ];
}

/** Takes one away: out of GitHub's hands first, which refuses while it has a job; before that the host says whether it can. */
function endSteps(): ProcedureStep[] {
  return [
    step('runner.status', { name: '{name}' }),
    step('runner.stop', { name: '{name}' }, { preparation: 'drain' }),
    step('runner.remove', { name: '{name}' }),
  ];
}

const provision: Procedure = {
  name: 'runner.provision',
  summary: 'Install, register and start a GitHub runner, and see it online',
  origin: 'built-in',
  parameters: new Map([
    ['scope', scope],
    [
      'mode',
      parameter(
        'one-job|stays',
        'one-job: it takes a single job and is gone from GitHub after it, so no job finds what another has left; retire it then. stays: it takes job after job, and each finds what the one before has left',
      ),
    ],
    [
      'name',
      parameter(NAME, 'its name at GitHub and on the host; made where none is given', { take: 'new-name' }),
    ],
    [
      'labels',
      parameter(
        LABELS,
        `by which jobs choose it, with commas between; ${OUR_LABEL} and a mark of the run are added, and GitHub adds self-hosted, the system and the architecture`,
        given(OUR_LABEL),
      ),
    ],
    ['group', parameter(GROUP, "the organisation's group of runners", given('Default'))],
    ['arch', arch],
    ['version', version],
    ['sha256', sha256],
  ]),
  steps: [...prepareSteps('{name}'), ...beginSteps('{name}', '{mode}')],
  github: { scope: 'scope', runner: 'name', labels: 'labels' },
};

const retire: Procedure = {
  name: 'runner.retire',
  summary: 'Take a GitHub runner away, when its job has ended: at GitHub, and then on the host',
  origin: 'built-in',
  parameters: new Map([
    ['scope', scope],
    ['name', parameter(NAME, 'which runner')],
    [WAIT_PARAMETER, waitSeconds],
  ]),
  steps: endSteps(),
  github: { scope: 'scope', runner: 'name' },
};

const upgrade: Procedure = {
  name: 'runner.upgrade',
  summary:
    'Replace a GitHub runner that stays by one of a newer version, under a new name, when its job has ended',
  origin: 'built-in',
  parameters: new Map([
    ['scope', scope],
    ['name', parameter(NAME, 'which runner is replaced')],
    ['new_name', parameter(NAME, 'the name of the new one; made where none is given', { take: 'new-name' })],
    [
      'labels',
      parameter(
        LABELS,
        'as for runner.provision; those of the old one where none are given',
        fromGitHub('labels'),
      ),
    ],
    [
      'group',
      parameter(
        GROUP,
        'as for runner.provision; that of the old one where none is given',
        fromGitHub('group'),
      ),
    ],
    ['arch', arch],
    ['version', version],
    ['sha256', sha256],
    [WAIT_PARAMETER, waitSeconds],
  ]),
  steps: [...prepareSteps('{new_name}'), ...endSteps(), ...beginSteps('{new_name}', 'stays')],
  github: { scope: 'scope', runner: 'new_name', labels: 'labels', replaces: 'name' },
};

/** By name. */
export const BUILT_IN_PROCEDURES: ReadonlyMap<string, Procedure> = new Map(
  [provision, retire, upgrade].map((one) => [one.name, one]),
);
