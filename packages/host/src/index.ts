/** What the `beacon host …` commands call. Each takes the machine that it looks at or changes. */
export { applySteps } from './apply.ts';
export { checkHost } from './check.ts';
export { diffPlan } from './diff.ts';
export { CERTIFICATE_STEP, type Enrolment, prepareEnrolment } from './enrolment.ts';
export { HostError, type HostErrorCode } from './error.ts';
export type { Finding } from './finding.ts';
export { type FirstContact, meetCa } from './first-contact.ts';
export { readHostCertificate } from './host-certificate.ts';
export { type InitOptions, initHost } from './init.ts';
export { Journal } from './journal.ts';
export { type Machine, type Outcome, openMachine } from './machine.ts';
export { readNote } from './note.ts';
export { parseBrokerAddress } from './penalty-exemption.ts';
export { parsePersonalLogin } from './personal-logins.ts';
export { type InitRequest, type Prepared, prepareHost } from './prepare.ts';
export { PRINT_FORMS, type PrintForm, printPlan } from './print.ts';
export { type RemoveOptions, removeHost, removeSteps } from './remove.ts';
export {
  GITHUB,
  parseRunnerCount,
  parseRunnerSource,
  RUNNER_POOL,
  type RunnerSource,
} from './runner-files.ts';
export { type Synced, syncHost } from './sync.ts';
export { readPresent } from './sync-trust.ts';
export { readTrustFolder, requireFresh, requireNotOlder, verifyTrust } from './trust-documents.ts';
export { parsePool, type Wish } from './wish.ts';
