/** A small world for the tests: an inventory, and requests that differ from a plain one in what a test is about. */
import {
  createPolicyEngine,
  type HostFacts,
  type HostRequest,
  type Memberships,
  type PolicyEngine,
  PolicyError,
  type PolicyErrorCode,
  parseInventory,
} from '@beacon/policy';

export const inventory = parseInventory({
  commands: {
    'runner.install': {
      summary: 'Download and unpack the runner',
      undo: 'runner.remove',
      params: {
        name: { pattern: '[a-z0-9][a-z0-9-]{0,62}' },
        repo: { pattern: '[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}' },
        token: { pattern: '.+', secret: true },
      },
    },
    'runner.remove': { params: { name: { pattern: '[a-z0-9][a-z0-9-]{0,62}' } } },
    'runner.state': {},
  },
  hosts: {
    'build-01': { logins: ['beacon', 'deploy'], labels: { env: 'prod' }, pools: ['ci'] },
    bare: { logins: ['beacon'] },
  },
});

export function host(id: string): HostFacts {
  const found = inventory.hosts[id];
  if (found === undefined) throw new Error(`the test's inventory has no host ${id}`);
  return found;
}

export function memberOf(...ids: string[]): Memberships {
  return { in: ids, unknown: [] };
}

export const install = { command: 'runner.install', params: { name: 'r1', repo: 'acme/site' } };
export const state = { command: 'runner.state', params: {} };

/** github:1, in no team, asks for `runner.state` on build-01 as beacon for 15 minutes. */
export const plain: HostRequest = {
  person: { id: 'github:1', teams: memberOf(), organizations: memberOf() },
  host: host('build-01'),
  login: 'beacon',
  lifetimeSeconds: 900,
  commands: [state],
  service: 'cli',
  sourceAddress: '192.0.2.7',
  now: new Date('2026-03-04T10:20:30.400Z'),
};

/** The plain request by somebody in these teams. */
export function inTeams(...ids: string[]): HostRequest {
  return { ...plain, person: { ...plain.person, teams: memberOf(...ids) } };
}

export function engineOf(...texts: string[]): PolicyEngine {
  return createPolicyEngine({
    inventory,
    files: texts.map((text, index) => ({ name: `${index}.cedar`, text })),
  });
}

/** The error with which making the engine ends; fails when it does not. */
export function refusalOf(...texts: string[]): PolicyError {
  return thrownBy(() => engineOf(...texts).close());
}

export function thrownBy(action: () => unknown): PolicyError {
  try {
    action();
  } catch (error) {
    if (error instanceof PolicyError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

export function codeOf(action: () => unknown): PolicyErrorCode {
  return thrownBy(action).code;
}
