import { fetchJwks, verifyCheckpoint } from '@beacon/client';
import { digestServiceHeads } from '@beacon/protocol/checkpoint';
import { hashRecord } from '@beacon/protocol/record';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { askToken, Machine } from './machine.ts';
import { type LoggedIn, refusal } from './small-ca.ts';
import { publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const POLICY = `
@id("runs") permit (principal in Team::"github:7001", action == Action::"disk.wipe", resource in Pool::"web");
@id("administrators")
permit (principal == Person::"github:101", action in [Action::"ca.hosts", Action::"ca.rotate"], resource);
`;

let lab: TrustLab;
let lin: LoggedIn;
let own = 0;
beforeAll(async () => {
  lab = await startTrustLab({ policy: POLICY, trustedProxies: ['127.0.0.1'] });
  await publish(lab);
  lin = await lab.ca.loginAtPortal('lin');
});
afterAll(() => lab.ca.close());

const hashOf = (seq: number, of = 'a') => `${of.repeat(48)}${String(seq).padStart(16, '0')}`;
const headOf = (seq: number, of?: string) => ({ seq, hash: hashOf(seq, of) });
const tell = (who: LoggedIn, head: object, hosts: object[] = []) =>
  lab.ca.ask(who, 'POST', '/v1/heads', { v: 1, chain: 'broker', head, hosts });
const refused = { status: 409, code: 'head-refused' };
const kinds = async (kind: string) => (await lab.ca.records()).filter((record) => record.kind === kind);
const reports = async () => (await lab.ca.ask(lab.ada, 'GET', '/v1/host-reports')).body;

describe('the head of a service', () => {
  test('moves forward, is shown to administrators, and stands in the signed checkpoint', async () => {
    const jwks = await fetchJwks(`${lab.ca.url}/.well-known/jwks.json`);
    const committed = async () =>
      (await verifyCheckpoint((await lab.ca.send('GET', '/v1/checkpoint')).body['checkpoint'], jwks)).heads;
    expect(await committed()).toEqual({});
    expect((await tell(lin, headOf(10))).body).toEqual({ head: headOf(10) });
    await lab.ca.api(lin).reportHeads(headOf(12), []);
    expect((await tell(lin, headOf(12))).status).toBe(200);
    expect((await reports())['services']).toEqual([
      { service: 'portal', seen: expect.stringMatching(/Z$/), head: headOf(12), head_refused: null },
    ]);
    expect(await committed()).toEqual({
      services: { seq: 2, hash: digestServiceHeads([{ service: 'portal', head: headOf(12) }]) },
    });
    expect(await lab.ca.api(lab.ada).serviceHeads()).toMatchObject([{ service: 'portal', head: headOf(12) }]);
  });

  test('L2: another of the same number is refused, recorded once, and shown', async () => {
    const other = await tell(lin, headOf(12, 'b'));
    expect(refusal(other)).toEqual(refused);
    expect(other.body['denial']).toEqual(headOf(12));
    expect(refusal(await tell(lin, headOf(12, 'c')))).toEqual(refused);
    expect(await kinds('service-head-refused')).toMatchObject([
      { service: 'portal', facts: { last: `12:${hashOf(12)}`, reported: `12:${hashOf(12, 'b')}` } },
    ]);
    expect((await reports())['services']).toMatchObject([
      { head: headOf(12), head_refused: expect.any(String) },
    ]);
  });

  test('L3: an older one is refused; an alarm unless another report has just overtaken it', async () => {
    const alarms = (await kinds('service-head-refused')).length;
    const overtaken = await tell(lin, headOf(11));
    expect(refusal(overtaken)).toEqual({ status: 409, code: 'head-overtaken' });
    expect(overtaken.body['denial']).toEqual(headOf(12));
    expect(await kinds('service-head-refused')).toHaveLength(alarms);
    const heads = lab.ca.running.ca.store.updateTable('service_heads');
    await heads.set({ seen_at: Date.now() - 120_000, refused_at: null }).execute();
    expect(refusal(await tell(lin, headOf(11)))).toEqual(refused);
    expect(await kinds('service-head-refused')).toHaveLength(alarms + 1);
    expect((await tell(lin, headOf(20))).status).toBe(200);
  });

  test('is taken of services alone', async () => {
    expect(refusal(await tell(await lab.ca.login('lin'), headOf(30)))).toEqual({
      status: 403,
      code: 'service-refused',
    });
    expect((await reports())['services']).toMatchObject([{ head: headOf(20) }]);
  });

  test.each<[string, object]>([
    ['another chain', { chain: 'ca' }],
    ['no head', { head: undefined }],
    ['a head of nothing', { head: { seq: 0, hash: '0'.repeat(64) } }],
    ['a hash that is none', { head: { seq: 40, hash: 'x' } }],
    ['a service of its own choice', { service: 'other' }],
  ])('refuses a body with %s', async (_what, change) => {
    const body = { v: 1, chain: 'broker', head: headOf(40), hosts: [], ...change };
    expect(refusal(await lab.ca.ask(lin, 'POST', '/v1/heads', body))).toEqual({
      status: 400,
      code: 'body-malformed',
    });
  });
});

describe('the head of a host as a service saw it', () => {
  let machine: Machine;
  let count = 0;
  beforeEach(async () => {
    count += 1;
    machine = new Machine(lab.ca, `seen-${count}`);
    const token = (await askToken(lab, machine.id)).body['token'];
    expect((await machine.enrol(token)).status).toBe(201);
    const command = { command: 'disk.wipe', params: '{}', salt: Buffer.alloc(32).toString('base64url') };
    const commands = [{ ...command, commitments: {} }];
    expect((await lab.ca.sign(lin, { host: machine.id, login: 'beacon', commands })).status).toBe(201);
  });

  const saw = (head: object, who = lin) => {
    own += 1;
    return tell(who, headOf(100 + own), [{ host: machine.id, head }]);
  };
  const contradictions = async () =>
    (await kinds('host-head-contradicted')).filter(({ host }) => host === machine.id);
  const warnings = async () =>
    (await reports())['hosts'].find(({ id }: { id: string }) => id === machine.id).warnings;

  test('is no word of the host: its own head stays, and its next report need not know', async () => {
    machine.work(2);
    await machine.report();
    const lines = machine.work(3);
    expect((await saw(machine.head)).status).toBe(200);
    expect((await machine.report({ records: lines })).body['head']).toEqual(machine.head);
    expect((await saw({ seq: 3, hash: hashRecord(lines[0] ?? '') })).status).toBe(200);
    expect([await contradictions(), await warnings()]).toEqual([[], []]);
  });

  test('L2: a host that rewrote what it had shown at work is found at its next report, which is taken', async () => {
    machine.work(2);
    await machine.report();
    const before = machine.lines.length;
    machine.work(2);
    expect((await saw(machine.head)).status).toBe(200);
    const seen = machine.head;
    const other = new Machine(lab.ca, machine.id, machine.key);
    other.lines.push(...machine.lines.slice(0, before));
    lab.ca.clock.offsetMs = 5_000;
    const changed = other.work(3);
    lab.ca.clock.offsetMs = 0;
    expect((await other.report({ records: changed })).status).toBe(200);
    expect(await contradictions()).toMatchObject([
      { service: 'portal', facts: { seen: `4:${seen.hash}`, known: `4:${hashRecord(changed[1] ?? '')}` } },
    ]);
    expect(await warnings()).toContain('head-refused');
  });

  test('L3: a host that cut what it had shown is found ten minutes later', async () => {
    machine.work(2);
    await machine.report();
    const kept = machine.lines.length;
    machine.work(4);
    expect((await saw(machine.head)).status).toBe(200);
    machine.lines.length = kept;
    expect((await machine.report()).status).toBe(200);
    expect(await contradictions()).toEqual([]);
    const witnessed = lab.ca.running.ca.store.updateTable('witnessed_heads').where('host', '=', machine.id);
    await witnessed.set({ seen_at: Date.now() - 700_000 }).execute();
    expect((await machine.report()).status).toBe(200);
    expect(await contradictions()).toHaveLength(1);
    expect(await warnings()).toContain('head-refused');
    expect((await machine.report()).status).toBe(200);
    expect(await contradictions()).toHaveLength(1);
  });

  test('L2: one that contradicts what the host reported is refused, and the record names the service', async () => {
    machine.work(3);
    await machine.report();
    expect(refusal(await saw(headOf(3, 'd')))).toEqual(refused);
    expect(await contradictions()).toMatchObject([{ service: 'portal' }]);
    expect((await saw(headOf(9))).status).toBe(200);
    expect(refusal(await saw(headOf(9, 'e')))).toEqual(refused);
  });

  test('is taken only of hosts that the person had a grant for by this service', async () => {
    const kim = await lab.ca.loginAtPortal('kim');
    expect(refusal(await saw(headOf(5), kim))).toEqual({ status: 404, code: 'grant-unknown' });
    const elsewhere = await tell(lin, headOf(500), [{ host: 'db-01', head: headOf(5) }]);
    expect(refusal(elsewhere)).toEqual({ status: 404, code: 'grant-unknown' });
    expect((await reports())['services'][0].head.seq).toBeLessThan(500);
  });

  test('begins anew when the host is enrolled again', async () => {
    machine.work(3);
    await machine.report();
    expect((await saw(headOf(8))).status).toBe(200);
    const token = (await askToken(lab, machine.id, { replace: true })).body['token'];
    const fresh = new Machine(lab.ca, machine.id);
    expect((await fresh.enrol(token)).status).toBe(201);
    expect((await fresh.report()).status).toBe(200);
    expect((await fresh.report({ records: fresh.work(9) })).status).toBe(200);
    expect(await contradictions()).toEqual([]);
  });
});
