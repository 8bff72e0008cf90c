/** One question: may this person do this on this host now, within what limits, and why (not)? */
export { type Extension, knownExtensions, type Limits } from './annotation.ts';
export { type PolicyCase, type PolicyCaseResult, parseCases, runPolicyCases } from './cases.ts';
export { createPolicyEngine, type PolicyEngine, type PolicyEngineOptions } from './engine.ts';
export { formatPlace, type Place, PolicyError, type PolicyErrorCode } from './error.ts';
export { explain } from './explain.ts';
export {
  type AuthorityAction,
  authorityActions,
  type CommandFacts,
  checkInventory,
  type HostFacts,
  type Inventory,
  type ParameterFacts,
  parseInventory,
} from './inventory.ts';
export { formatLifetime, lifetimeBounds, parseLifetime } from './lifetime.ts';
export type { PolicyFile } from './load.ts';
export { unmapAddress } from './name.ts';
export type {
  Allowed,
  AuthorityRequest,
  CommandAsked,
  CommandProspect,
  Decision,
  DenialCode,
  Denied,
  Foresight,
  HostRequest,
  Invocation,
  LeftOut,
  Memberships,
  Missing,
  PersonFacts,
  PolicyRequest,
  UnknownMembership,
  WhyUnknown,
} from './request.ts';
export { formatSchema } from './schema.ts';
