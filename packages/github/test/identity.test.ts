import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ACME, failureOf, HUBOT, MONA, makeWorld, type World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.standin.close());

describe('identity', () => {
  it('is the numeric id; the login and the name are shown', async () => {
    expect(await world.github.readIdentity(world.mint())).toEqual({
      id: String(MONA),
      person: `github:${MONA}`,
      login: 'mona',
      name: 'Mona Lisa',
    });
  });

  it('O6: stays the same after a rename, and whoever takes the old login is somebody else', async () => {
    const { state } = world.standin;
    const token = world.mint();
    state.renamePerson(MONA, 'lisa');
    state.renamePerson(HUBOT, 'mona');
    expect(await world.github.readIdentity(token)).toMatchObject({ person: `github:${MONA}`, login: 'lisa' });
    expect(await world.github.findPersonByLogin('mona')).toMatchObject({ person: `github:${HUBOT}` });
  });

  it.each([
    ['a text as id', { id: '583231', login: 'mona', type: 'User' }],
    ['a fraction as id', { id: 1.5, login: 'mona', type: 'User' }],
    ['a zero id', { id: 0, login: 'mona', type: 'User' }],
    ['a negative id', { id: -1, login: 'mona', type: 'User' }],
    ['no id', { login: 'mona', type: 'User' }],
    ['no login', { id: 1, type: 'User' }],
    ['a login with a line break', { id: 1, login: 'mona\nroot', type: 'User' }],
    ['an organisation', { id: 1, login: 'acme', type: 'Organization' }],
    ['a bot', { id: 1, login: 'hubot', type: 'Bot' }],
    ['a list', [{ id: 1, login: 'mona', type: 'User' }]],
  ])('refuses an answer with %s', async (_what, body) => {
    world.standin.state.fault({ path: '/user', effect: { kind: 'answer', status: 200, body } });
    expect((await failureOf(world.github.readIdentity(world.mint()))).code).toBe('malformed');
  });

  it('keeps an id past 2^53 digit by digit', async () => {
    const fetch = async () =>
      new Response('{"id":9007199254740993,"login":"mona","type":"User"}', {
        headers: { 'content-type': 'application/json; charset=utf-8' },
      });
    const read = await world.connect({ fetch }).readIdentity(world.mint());
    expect(read.person).toBe('github:9007199254740993');
  });

  it('leaves out a name that cannot be shown as it stands', async () => {
    const body = { id: 1, login: 'mona', type: 'User', name: 'Mona\u001b[31m' };
    world.standin.state.fault({ path: '/user', effect: { kind: 'answer', status: 200, body } });
    expect(await world.github.readIdentity(world.mint())).toEqual({
      id: '1',
      person: 'github:1',
      login: 'mona',
    });
  });
});

describe('finding a person by login', () => {
  it('asks without a token and gives the id', async () => {
    expect(await world.github.findPersonByLogin('Mona')).toMatchObject({ id: String(MONA), login: 'mona' });
  });

  it.each(['nobody', 'acme'])('refuses %s, who is no person', async (login) => {
    expect(world.standin.state.findLogin('acme')?.id).toBe(ACME);
    const failure = await failureOf(world.github.findPersonByLogin(login));
    expect(failure.code).toBe('not-found');
    expect(failure.message).toContain(login);
  });

  it.each(['', '../user', 'mona/orgs', 'mona?x', '-mona', 'mo na', 'm'.repeat(101)])(
    'refuses %j before asking',
    async (login) => {
      expect((await failureOf(world.github.findPersonByLogin(login))).code).toBe('configuration');
      expect(world.standin.state.requests).toEqual([]);
    },
  );
});
