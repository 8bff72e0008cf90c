import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  consumeProof,
  createGroupCommit,
  type Database,
  KEPT_FOR_SLOW_CLOCKS_MS,
  migrate,
  openDatabase,
  type ProofTables,
  proofMigrations,
  pruneProofs,
} from '../src/index.ts';
import { engines } from './postgres.ts';

describe.each(engines)('used proofs on $engine', ({ place }) => {
  let database: Database<ProofTables>;
  beforeAll(async () => {
    database = openDatabase(await place());
    await migrate(database, proofMigrations);
  });
  afterAll(() => database.destroy());

  const expiresAt = new Date(1_000);

  test('a proof is used up once, per key', async () => {
    const { write } = createGroupCommit(database);
    const use = (thumbprint: string, jti: string) =>
      write((tx) => consumeProof(tx, { thumbprint, jti, expiresAt }));
    const answers = await Promise.all(Array.from({ length: 100 }, () => use('key', 'one')));
    expect(answers.filter((first) => first)).toHaveLength(1);
    expect(await use('key', 'two')).toBe(true);
    expect(await use('other', 'one')).toBe(true);
  });

  test('what fails together with it does not use it up', async () => {
    const { write } = createGroupCommit(database);
    const proof = { thumbprint: 'key', jti: 'undone', expiresAt };
    const failing = write(async (tx) => {
      await consumeProof(tx, proof);
      throw new Error('the rest failed');
    });
    await expect(failing).rejects.toThrow('the rest failed');
    expect(await write((tx) => consumeProof(tx, proof))).toBe(true);
  });

  test('a proof is remembered until it could not be shown again', async () => {
    const { write } = createGroupCommit(database);
    const proof = { thumbprint: 'key', jti: 'old', expiresAt };
    await write((tx) => consumeProof(tx, proof));
    await write((tx) => pruneProofs(tx, new Date(expiresAt.getTime() + KEPT_FOR_SLOW_CLOCKS_MS)));
    expect(await write((tx) => consumeProof(tx, proof))).toBe(false);
    await write((tx) => pruneProofs(tx, new Date(expiresAt.getTime() + KEPT_FOR_SLOW_CLOCKS_MS + 1)));
    expect(await write((tx) => consumeProof(tx, proof))).toBe(true);
  });
});
