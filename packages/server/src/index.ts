export {
  type Database,
  type DatabaseOptions,
  isUniqueViolation,
  openDatabase,
  type Readable,
  storageFailure,
  type Transaction,
} from './database.ts';
export { kindOf, ServerError, type ServerErrorCode } from './error.ts';
export { createGroupCommit, type GroupCommit, type GroupCommitOptions } from './group-commit.ts';
export { type Migrations, migrate } from './migration.ts';
export {
  type ChainOptions,
  type ChainVerdict,
  type RecordAnchor,
  verifyRecords,
} from './record-chain.ts';
export {
  createRecords,
  type PersonalTable,
  type RecordEntry,
  type RecordFilter,
  type RecordHead,
  type RecordReceipt,
  type Records,
  type RecordTables,
  recordMigrations,
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
} from './route.ts';
