export { type AppOptions, createApp, type Mount, type MountHandler } from './app.ts';
export {
  chosenPlaces,
  type OptionValues,
  readOptions,
  readyOptions,
  requireChosen,
  unreadOption,
  withUsage,
} from './arguments.ts';
export {
  type CheckedStore,
  type CheckResult,
  checkStore,
  createChecks,
  type StoreFinding,
} from './check.ts';
export {
  describeDefaults,
  duration,
  formatDuration,
  parseConfiguration,
  readConfiguration,
  type Setting,
} from './configuration.ts';
export { copyStore } from './copy-store.ts';
export {
  type Database,
  type DatabaseOptions,
  isShared,
  isUniqueViolation,
  openDatabase,
  type Readable,
  storageFailure,
  type Transaction,
} from './database.ts';
export { descriptionRoute } from './description-route.ts';
export { kindOf, ServerError, type ServerErrorCode } from './error.ts';
export {
  type EventStreamOptions,
  eventStream,
  eventStreamHeaders,
  type StreamedEvent,
} from './event-stream.ts';
export { createGroupCommit, type GroupCommit, type GroupCommitOptions } from './group-commit.ts';
export { healthRoutes, type ReadinessChecks, type ReadinessNotes } from './health.ts';
export {
  type CounterPlace,
  type CountingStore,
  createCounter,
  createLimits,
  type Limit,
  type Limits,
  type LimitsOptions,
  limitMigrations,
} from './limits.ts';
export { type Listening, type ListenOptions, listen, requireProtection, type TlsPair } from './listen.ts';
export { createLog, type Log, type LogOptions } from './log.ts';
export { createMetrics, type Metrics, metricsRoute } from './metrics.ts';
export { type Migrations, migrate, migrationState } from './migration.ts';
export {
  type DraftFolder,
  makeNewFolder,
  requireNewFolder,
  startingSteps,
  syncFolder,
} from './new-folder.ts';
export { type Html, html, messagePage, type Page, pageHeaders, renderPage, sendPage } from './page.ts';
export { addressKey, trustProxies } from './peer.ts';
export { type PreparedQuery, prepareQuery, type QueriedStore } from './prepared-query.ts';
export { describeSettings, print, printChecks, printJson, talk } from './print.ts';
export { type Proof, type ProofContext, type ProofFault, proofAlgorithms, verifyProof } from './proof.ts';
export {
  consumeProof,
  KEPT_FOR_SLOW_CLOCKS_MS,
  type ProofTables,
  proofMigrations,
  pruneProofs,
} from './proof-store.ts';
export { readableFailure } from './readable-failure.ts';
export { untilReady } from './ready.ts';
export {
  type ChainOptions,
  type ChainVerdict,
  type RecordAnchor,
  verifyRecords,
} from './record-chain.ts';
export { type PersonalTable, type RecordTables, recordMigrations } from './record-tables.ts';
export {
  createRecords,
  type RecordEntry,
  type RecordFilter,
  type RecordHead,
  type RecordReceipt,
  type Records,
  type StoredRecord,
} from './records.ts';
export {
  type Answer,
  type Credentials,
  type DefineRoute,
  defineRoute,
  type Method,
  type Refusal,
  type RequestFacts,
  type RequestSchemas,
  type ResponseDescription,
  type Route,
  type RouteInput,
  routeDefiner,
  type StreamAnswer,
} from './route.ts';
export type { RefusedCaller } from './route-checks.ts';
export { scrubDeleted } from './scrub.ts';
export { createSealer, type Sealer } from './seal.ts';
export { isCredentialPath, readSecretFile, type SecretFileOptions } from './secret-file.ts';
export {
  reloadSignal,
  type Serving,
  type StopSignals,
  serveApp,
  stopSignal,
  stopSignals,
  tlsFiles,
} from './serve.ts';
export {
  chosenListen,
  connectionLimits,
  daysSetting,
  listenSettings,
  metricsSetting,
  pathSetting,
  placeServerFiles,
  placesOf,
  providerSetting,
  publicUrlSetting,
  recordsSetting,
  requestLimits,
  requireListenable,
  type StoreSetting,
  serviceLimit,
  storeSetting,
  urlSetting,
} from './server-configuration.ts';
export { inStore, nameOfStore, readStore } from './store-setting.ts';
export {
  followTlsFiles,
  type ReadTlsPair,
  readTlsFiles,
  type TlsFiles,
  type TlsFollowing,
  type TlsFollowOptions,
} from './tls-files.ts';
export { createWriteCheck } from './write-check.ts';
