/**
 * The surface for other backends and for Beacon's own programs: log a person in (device grant, or code + PKCE), exchange a
 * token that a person handed over, and ask the CA for decisions and certificates that are verified before use.
 *
 * A backend that acts for people: `discoverCa` → `generateProofKey` → `startAuthorization` / `finishAuthorization` (or
 * `exchangeToken`) → `credentialsOf` → `createCaApi` → `obtainCertificate`. See `docs/api.md`.
 */
export { RUN_PHASES, RUN_WISHES, type RunPhase, type RunWish } from '@beacon/protocol/run-words';
export {
  type AuthorizationAnswer,
  type AuthorizationRequest,
  finishAuthorization,
  type StartedAuthorization,
  startAuthorization,
} from './authorization-code.ts';
export type {
  Allowed,
  BrokerTrace,
  OfferedCommand,
  Procedure,
  ProcedureParameter,
  Runner,
  RunnerPlace,
  UsableHost,
  UsableHostDetail,
} from './broker-answers.ts';
export {
  type BrokerApi,
  type BrokerFacts,
  type BrokerOptions,
  createBrokerApi,
  discoverBroker,
  type RunOrder,
} from './broker-api.ts';
export type {
  AuthorityKeys,
  CertificateEntry,
  Decision,
  DisabledPerson,
  Host,
  HostCommand,
  PersonChanged,
  PersonSession,
  RecordPage,
  RecordReference,
  RegisteredHost,
  Revocation,
  Whoami,
} from './ca-answers.ts';
export {
  type CaApi,
  createCaApi,
  type HostReport,
  type HostStanding,
  type HostToken,
  type HostTokenWish,
  type MadeHostToken,
  type RotatingKey,
  type Rotation,
  type SeenHead,
  type ServiceHead,
} from './ca-api.ts';
export { type CertificateWish, type ObtainedCertificate, obtainCertificate } from './certificate.ts';
export { fetchJwks, verifyCheckpoint } from './checkpoint.ts';
export { clientAssertion, type ServiceClient } from './client-assertion.ts';
export { type DeviceClient, type DeviceLogin, finishDeviceLogin, startDeviceLogin } from './device-login.ts';
export { type CaMetadata, discoverCa } from './discovery.ts';
export { ClientError, type ClientErrorCode, type ServerProblem } from './error.ts';
export { defaultOutside, exchange, type HttpAnswer, type HttpRequest, type Outside } from './exchange.ts';
export { plainText } from './plain-text.ts';
export {
  createProof,
  exportProofKey,
  generateProofKey,
  importProofKey,
  type ProofKey,
  type StoredProofKey,
} from './proof.ts';
export type { Run, RunEvent, RunStep } from './run-answers.ts';
export type { FollowOptions, Reconnecting } from './run-events.ts';
export { parseServerUrl } from './server-url.ts';
export {
  type Credentials,
  credentialsOf,
  openBrokerSession,
  openSession,
  type SessionStorage,
  type StoredSession,
  storedSession,
} from './session.ts';
export type { Tokens } from './token-endpoint.ts';
export { exchangeToken, type TokenExchange } from './token-exchange.ts';
