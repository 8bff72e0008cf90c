/** Runs over HTTP, against a real CA: what is asked for, whose it is, how it is watched, what a refusal says. */
import { createBrokerApi, credentialsOf, type RunEvent } from '@beacon/client';
import { readProblem } from '@beacon/protocol/problem';
import { parseRecord } from '@beacon/protocol/record';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { LoggedIn } from '../../ca/test/small-ca.ts';
import { HttpLab, RUN } from './http-lab.ts';

describe('runs over HTTP', () => {
  let lab: HttpLab;
  let lin: LoggedIn;
  let kim: LoggedIn;

  beforeAll(async () => {
    lab = await HttpLab.start({ limits: { watchers: { inAll: 3, perPerson: 2 } } });
    [lin, kim] = [await lab.login('lin'), await lab.login('kim')];
  });
  afterAll(() => lab.close());

  const api = (who: LoggedIn) =>
    createBrokerApi({
      url: lab.url,
      credentials: credentialsOf(lab.ca.url, who.proofKey, {
        accessToken: who.accessToken,
        accessTokenExpiresAt: new Date(Date.now() + 200_000),
      }),
    });

  async function eventsOf(who: LoggedIn, id: string, after = 0): Promise<RunEvent[]> {
    const events: RunEvent[] = [];
    for await (const event of api(who).events(id, { after })) events.push(event);
    return events;
  }

  it('shows the hosts that a person may use, with what is allowed there and why not', async () => {
    expect((await api(lin).hosts()).map(({ id }) => id)).toEqual(['web-01']);
    const { commands } = await api(lin).host('web-01');
    const allowed = Object.fromEntries(commands.map(({ command, allowed: word }) => [command, word]));
    expect(allowed).toMatchObject({ 'runner.install': 'yes', 'disk.wipe': 'no' });
    expect((await lab.ask(lin, 'GET', '/v1/hosts/db-01')).body['code']).toBe('host-unknown');
    expect((await lab.ask(lin, 'GET', '/v1/hosts/nowhere')).body['code']).toBe('host-unknown');
  });

  it('makes a run, streams it to its end, and shows it', async () => {
    const made = await lab.run(lin, 'first');
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({
      person: 'github:102',
      service: 'beacon-cli',
      login: 'beacon',
      kind: 'command',
    });
    const events = await eventsOf(lin, made.body['id']);
    expect(events.at(-1)).toMatchObject({ kind: 'over', data: { phase: 'succeeded' } });
    expect(events.filter(({ kind }) => kind === 'stdout').map(({ data }) => data['text'])).toEqual([
      'did runner.install\n',
    ]);
    const run = await api(lin).run(made.body['id']);
    expect(run).toMatchObject({ phase: 'succeeded', possible: [] });
    expect(run.steps[0]?.grant).toMatch(/^[0-9a-z]{26}$/);
    expect((await api(lin).runs({ host: 'web-01', phase: 'succeeded' })).map(({ id }) => id)).toContain(
      run.id,
    );
  });

  it('answers the same run to the same key, and refuses another request with it', async () => {
    const first = await lab.run(lin, 'once');
    const second = await lab.run(lin, 'once');
    expect([first.status, second.status, second.body['id']]).toEqual([201, 200, first.body['id']]);
    const other = await lab.run(lin, 'once', { params: { name: 'r2', version: '2.330.0' } });
    expect([other.status, other.body['code']]).toEqual([409, 'idempotency-conflict']);
    // Another person's key is another key.
    const theirs = await lab.run(kim, 'once');
    expect(theirs.status).toBe(201);
    await Promise.all([eventsOf(lin, first.body['id']), eventsOf(kim, theirs.body['id'])]);
  });

  it.each([
    ['no key', undefined],
    ['an empty key', ''],
    ['a key with a space', 'a b'],
    ['a key that is too long', 'x'.repeat(129)],
  ])('refuses a run with %s', async (_, key) => {
    const body = { v: 1, host: 'web-01', ...RUN };
    const refused = await lab.ask(lin, 'POST', '/v1/runs', body, { headers: { 'idempotency-key': key } });
    expect([refused.status, refused.body['code']]).toEqual([400, 'header-malformed']);
  });

  it.each([
    [
      'an argument that does not match',
      { params: { name: '../etc', version: '2.330.0' } },
      'params-malformed',
    ],
    ['an argument too many', { params: { ...RUN.params, more: 'x' } }, 'params-malformed'],
    ['an argument too few', { params: { name: 'r1' } }, 'params-malformed'],
    ['an array for a string', { params: { ...RUN.params, name: ['r1'] } }, 'body-malformed'],
    ['a number for a string', { params: { ...RUN.params, name: 1 } }, 'body-malformed'],
    ['a NUL', { params: { ...RUN.params, name: 'r1\0' } }, 'body-malformed'],
    ['a trailing newline', { params: { ...RUN.params, name: 'r1\n' } }, 'params-malformed'],
    ['a secret that the command has not', { secrets: { name: 'r1' } }, 'params-malformed'],
    ['an unknown key', { extra: true }, 'body-malformed'],
    ['neither command nor procedure', { command: undefined }, 'body-malformed'],
    ['both command and procedure', { procedure: 'runner.provision' }, 'body-malformed'],
    ['a command that the host has not', { command: 'disk.format', params: {} }, 'command-unknown'],
    ['a host that is not there', { host: 'nowhere' }, 'host-unknown'],
  ])('R9: refuses %s before anybody is connected to', async (_, wish, code) => {
    const before = lab.dialled.length;
    const refused = await lab.run(lin, `r9-${code}-${Math.random()}`, wish);
    expect([refused.status < 500 && refused.status >= 400, refused.body['code']]).toEqual([true, code]);
    expect(lab.dialled.length).toBe(before);
  });

  it('R9: refuses a doubled key in the body, where readers would differ', async () => {
    const raw = JSON.stringify({ v: 1, host: 'web-01', ...RUN }).replace(
      '"params"',
      '"host":"db-01","params"',
    );
    const refused = await lab.ask(lin, 'POST', '/v1/runs', raw, { headers: { 'idempotency-key': 'double' } });
    expect([refused.status, refused.body['code']]).toEqual([400, 'body-malformed']);
  });

  it('writes down a run that policy denies as denied, and says what would have to be otherwise', async () => {
    const made = await lab.run(lin, 'denied', { command: 'runner.remove', params: { name: 'r1' } });
    expect(made.status).toBe(201);
    const before = lab.dialled.length;
    const events = await eventsOf(lin, made.body['id']);
    expect(events.at(-1)).toMatchObject({ kind: 'over', data: { phase: 'denied' } });
    expect(lab.dialled.length).toBe(before);
    expect((await api(lin).run(made.body['id'])).end?.how).toBe('denied');
  });

  it("W3: another person's run is not there, on every route", async () => {
    const { body } = await lab.run(lin, 'of-lin');
    const { id } = body;
    await eventsOf(lin, id);
    const grant = (await api(lin).run(id)).steps[0]?.grant ?? '';
    const unknown = '01jd8z0000abcdefghjkmnpqrs';
    for (const [method, path, sent] of [
      ['GET', `/v1/runs/${id}`, undefined],
      ['GET', `/v1/runs/${id}/events`, undefined],
      ['GET', `/v1/runs/${id}/trace`, undefined],
      ['GET', `/v1/trace/${grant}`, undefined],
      ...['cancel', 'look', 'undo', 'resume', 'retry'].map((wish) => [
        'POST',
        `/v1/runs/${id}/${wish}`,
        { v: 1 },
      ]),
    ] as [string, string, unknown][]) {
      const foreign = await lab.ask(kim, method, path, sent);
      const absent = await lab.ask(kim, method, path.replace(id, unknown).replace(grant, unknown), sent);
      expect([path, foreign.status, foreign.body['code']]).toEqual([path, 404, 'run-unknown']);
      // Not even that there is such a run can be told from the answer.
      expect(
        foreign.text
          .replaceAll(id, unknown)
          .replaceAll(grant, unknown)
          .replace(/"id":.*/, ''),
      ).toBe(absent.text.replace(/"id":.*/, ''));
    }
    expect(await api(kim).runs({ person: 'github:102' })).toEqual([]);
    expect((await api(kim).runs({})).every(({ person }) => person === kim.person)).toBe(true);
  });

  it('joins what broker and CA recorded of a run, and names whose records it may not read', async () => {
    const { body } = await lab.run(lin, 'traced');
    await eventsOf(lin, body['id']);
    const trace = await api(lin).traceRun(body['id']);
    const run = await api(lin).run(body['id']);
    expect(trace.grants).toEqual([run.steps[0]?.grant]);
    expect(new Set(trace.lines.map(({ chain }) => chain))).toEqual(new Set(['broker', 'ca']));
    const kinds = trace.lines.map(({ line }) => parseRecord(line).kind);
    expect(kinds).toEqual(expect.arrayContaining(['run-created', 'certificate', 'step-succeeded']));
    expect(kinds[0]).toBe('run-created');
    const times = trace.lines.map(({ line }) => parseRecord(line).time.getTime());
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    // Policy gives the team no records of hosts.
    expect(trace.missing.map(({ chain }) => chain)).toEqual(['host']);
    expect(trace.findings).toEqual([]);
    expect(await api(lin).trace(trace.grants[0] ?? '')).toEqual(trace);
  });

  it('shows where runners may be added to who may configure one on the host, and to nobody else', async () => {
    expect((await lab.ask(lin, 'GET', '/v1/places?host=web-01')).status).toBe(200);
    expect((await lab.ask(lin, 'GET', '/v1/runners?host=web-01&scope=../x')).body['code']).toBe(
      'github-refused',
    );
    const mallory = await lab.login('mallory');
    const refused = await lab.ask(mallory, 'GET', '/v1/places?host=web-01');
    expect([403, 404]).toContain(refused.status);
    const kept = `${lab.logs.join('\n')}\n${lab.storedBytes().toString('latin1')}`;
    expect(kept).not.toMatch(/gh[ou]_[A-Za-z0-9]{10}/);
  });

  it('streams from behind the event that a watcher saw last, without loss and without doubling', async () => {
    const { body } = await lab.run(lin, 'again');
    const all = await eventsOf(lin, body['id']);
    for (const after of [1, 3, all.length - 1]) {
      const rest = await eventsOf(lin, body['id'], after);
      expect(rest.map(({ seq }) => seq)).toEqual(all.slice(after).map(({ seq }) => seq));
    }
    const path = `/v1/runs/${body['id']}/events`;
    const byQuery = await lab.send('GET', `${path}?after=2`, undefined, {});
    expect(byQuery.status).toBe(401);
    const malformed = await lab.ask(lin, 'GET', path, undefined, { headers: { 'last-event-id': 'x' } });
    expect([malformed.status, malformed.body['code']]).toEqual([400, 'header-malformed']);
  });

  it('lets a person and all persons watch so many streams at once, and ends them when it stops', async () => {
    let release = () => {};
    lab.hold = () =>
      new Promise<void>((resolve) => {
        release = resolve;
      });
    const [mine, theirs] = [await lab.run(lin, 'watched'), await lab.run(kim, 'watched')];
    const open = (who: LoggedIn, id: string) => {
      const stream = api(who).events(id)[Symbol.asyncIterator]();
      return { stream, first: stream.next() };
    };
    const watching = [open(lin, mine.body['id']), open(lin, mine.body['id']), open(kim, theirs.body['id'])];
    for (const { first } of watching) expect((await first).done).toBe(false);
    const path = (id: string) => `/v1/runs/${id}/events`;
    const [mineToo, theirsToo] = [
      await lab.ask(lin, 'GET', path(mine.body['id'])),
      await lab.ask(kim, 'GET', path(theirs.body['id'])),
    ];
    expect([mineToo.status, mineToo.headers.get('retry-after')]).toEqual([429, '15']);
    expect([theirsToo.status, theirsToo.body['code']]).toEqual([429, 'too-many-requests']);
    for (const { stream } of watching) await stream.return?.();
    const late = lab.ask(lin, 'GET', path(mine.body['id']));
    await new Promise((resolve) => setTimeout(resolve, 50));
    lab.hold = async () => undefined;
    lab.broker.stopWatching();
    const { status, text } = await late;
    expect([status, text.includes('event: over')]).toEqual([200, false]);
    release();
    await lab.down();
    await lab.up();
  });

  it('is refused with the time to wait when the broker is stopping, which /readyz says too', async () => {
    await lab.broker.runs.drain(0, new AbortController().signal);
    const refused = await lab.run(lin, 'late');
    expect([refused.status, refused.body['code'], refused.headers.get('retry-after')]).toEqual([
      ...[503, 'stopping', '5'],
    ]);
    const { status, text } = await lab.send('GET', '/readyz');
    expect([status, JSON.parse(text).checks]).toEqual([503, { store: 'ok', runs: 'failing' }]);
    await lab.down();
    await lab.up();
  });

  it('W4: every answer carries strict headers, refusals too', async () => {
    const answers = [
      await lab.send('GET', '/'),
      await lab.send('GET', '/openapi.json'),
      await lab.send('GET', '/nothing'),
      await lab.send('GET', '/v1/runs'),
      await lab.send('PUT', '/v1/runs'),
      await lab.send('GET', '/login?return=//evil.example'),
      await lab.ask(lin, 'GET', '/v1/runs'),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 401, 405, 400, 200]);
    for (const { headers } of answers) {
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-powered-by')).toBeNull();
    }
  });

  it('W7: a refusal is a problem document without stack, path or version, also when the store breaks', async () => {
    const refused = await lab.send('GET', '/v1/runs/not-an-id', undefined, { authorization: 'DPoP x' });
    expect(readProblem(refused.text)).toMatchObject({ status: 400, code: 'path-malformed' });
    await lab.broker.store.schema.dropTable('runs').execute();
    const { body } = await lab.run(lin, 'broken');
    expect(Object.keys(body).toSorted()).toEqual(['code', 'detail', 'id', 'status', 'title', 'type']);
    expect(body['code']).not.toBe('run-unknown');
    expect(JSON.stringify(body)).not.toMatch(/no such table|sqlite|\/dev\/|\/tmp\/|node_modules|at .*[.]ts/i);
  });
});
