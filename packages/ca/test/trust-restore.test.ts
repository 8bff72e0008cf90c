/** A drill: a CA that publishes trust documents is lost, and what is restored goes on where hosts stand. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseTrustStatus } from '@beacon/protocol/trust';
import { fingerprint } from '@beacon/ssh/public-key';
import { createUserCa } from '@beacon/ssh/sign-certificate';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type MadeCa, makeCheapCa } from './made-ca.ts';
import { runMain } from './run-main.ts';
import { newSigner } from './small-ca.ts';
import { draw, lineOf, publish, startTrustLab, type TrustLab } from './trust-lab.ts';

let made: MadeCa;
let lab: TrustLab;
beforeAll(async () => {
  made = await makeCheapCa();
  lab = await startTrustLab({ trustedProxies: ['127.0.0.1'] });
  made.edit('ca.yaml', 'store: data/ca.db', `store: ${lab.ca.storeFile}`);
  writeFileSync(made.at('trust_root.pub'), `${lineOf(lab.root.publicKey)}\n`);
  made.edit('ca.yaml', '# trust_root:', 'trust_root:');
  expect((await publish(lab)).status).toBe(201);
}, 120_000);
afterAll(async () => {
  await lab?.ca.close();
  made?.remove();
});

const trust = async () => {
  const [root, status] = [
    (await lab.ca.send('GET', '/v1/trust/root')).body,
    (await lab.ca.send('GET', '/v1/trust/status')).body,
  ];
  return { root, status: parseTrustStatus(Buffer.from(status['document'])) };
};
const revoke = async () => {
  const { body } = await lab.ca.sign(lab.ada, { host: 'web-01' });
  const request = { v: 1, by: 'serial', value: body['serial'], reason: 'a drill' };
  expect((await lab.ca.ask(lab.ada, 'POST', '/v1/revocations', request)).status).toBe(200);
};

test('a restored CA publishes the same root, no status that hosts have passed, and signs with the key of ca.yaml', async () => {
  const before = await trust();
  const backup = join(made.folder, 'backup.db');
  const outcome = await runMain(['ca', 'backup', '--config', made.configuration, '--out', backup, '--json']);
  expect([outcome.status, outcome.stderr]).toEqual([0, '']);
  expect(JSON.parse(outcome.stdout).files).toContain('trust_root.pub');

  for (let i = 0; i < 3; i += 1) {
    await revoke();
    await trust();
  }
  // After the backup another key is prepared and activated: hosts know the root that names it.
  const next = createUserCa(newSigner());
  await lab.ca.restart({ keys: { ...lab.ca.keys, userCaNext: next } });
  const document = draw(lab, {
    version: 2,
    userCa: [lineOf(lab.ca.keys.userCa.publicKey), lineOf(next.publicKey)],
  });
  expect((await publish(lab, document)).status).toBe(201);
  const request = { v: 1, key: fingerprint(next.publicKey), without: [], reason: 'a drill' };
  expect((await lab.ca.ask(lab.ada, 'POST', '/v1/rotation', request)).status).toBe(201);
  const last = await trust();
  expect(last.status.version).toBeGreaterThan(before.status.version);

  await lab.ca.down();
  for (const name of readdirSync(lab.ca.folder)) rmSync(join(lab.ca.folder, name), { recursive: true });
  rmSync(made.at('trust_root.pub'));
  const restored = await runMain([
    'ca',
    'restore',
    '--from',
    backup,
    '--config',
    made.configuration,
    '--json',
  ]);
  expect([restored.status, restored.stderr]).toEqual([0, '']);
  expect(readFileSync(made.at('trust_root.pub'), 'utf8').trimEnd()).toBe(lineOf(lab.root.publicKey));

  await lab.ca.up({ keys: { ...lab.ca.keys, userCa: next } });
  const after = await trust();
  expect(after.root).toEqual(before.root);
  expect(after.status.version).toBeGreaterThan(last.status.version);
  lab = { ...lab, ada: await lab.ca.login('ada') };
  expect((await publish(lab, document)).status).toBe(201);
  const again = await trust();
  expect(again.root).toEqual(last.root);
  expect(again.status.version).toBeGreaterThan(after.status.version);
  const { body } = await lab.ca.sign(lab.ada, { host: 'web-01' });
  expect(body['certificate']).toBeDefined();
  expect((await lab.ca.lastRecord()).facts?.['authority']).toBe(fingerprint(next.publicKey));
}, 120_000);
