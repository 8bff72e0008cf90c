import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { accountsOfPool, findAccount } from '../src/account.ts';
import { MOST_GATES } from '../src/held.ts';
import { Pools } from '../src/pool.ts';
import { codeOf } from './refusal.ts';
import { SmallHost } from './small-host.ts';

let host: SmallHost;
beforeEach(async () => {
  host = await SmallHost.open();
});
afterEach(() => host.close());

describe('an account', () => {
  it('is found by its whole name, and a pool by its numbers alone', () => {
    writeFileSync(
      host.places.passwd,
      [
        'a:x:1:2::/a:/x',
        'r-10:x:10:1::/r:/x',
        'r-2:x:2:1::/r:/x',
        'r-02:x:3:1::/:/x',
        'r-x:x:4:1::/:/x',
        'r-:x:5:1::/:/x',
        '+::::::',
        'r-3:x:3:1',
      ].join('\n'),
    );
    expect(findAccount(host.places.passwd, 'a')).toEqual({ name: 'a', uid: 1, gid: 2, home: '/a' });
    expect(accountsOfPool(host.places.passwd, 'r').map(({ name }) => name)).toEqual(['r-2', 'r-10']);
    for (const name of ['r', 'A', 'a ', '+', ''])
      expect(codeOf(() => findAccount(host.places.passwd, name))).toBe('account-missing');
  });
});

describe('a pool', () => {
  const pools = () => new Pools(host.places.pools, host.places.lock, host.places.passwd);

  it('binds an account to a value until it is released, whichever gate asks', () => {
    expect(pools().bind('pool', 'x').name).toBe('pool-1');
    expect(pools().bind('pool', 'y').name).toBe('pool-2');
    expect(pools().bind('pool', 'x').name).toBe('pool-1');
    expect(codeOf(() => pools().bind('pool', 'z'))).toBe('pool-empty');
    pools().release('pool', 'x');
    expect(pools().bind('pool', 'z').name).toBe('pool-1');
    expect(codeOf(() => pools().bind('none', 'z'))).toBe('pool-empty');
  });
});

describe('an account of a pool', () => {
  it('is not lost to a binding that a full disk or a kill has left empty', () => {
    const pools = new Pools(host.places.pools, host.places.lock, host.places.passwd);
    writeFileSync(join(host.places.pools, 'pool-1'), '');
    expect(pools.bind('pool', 'x').name).toBe('pool-1');
    expect(pools.bind('pool', 'y').name).toBe('pool-2');
    expect(pools.bind('pool', 'x').name).toBe('pool-1');
  });
});

describe('what gates hold', () => {
  const held = () => host.gate().held;

  it('is held by one at a time, and free again when it is given back', () => {
    const release = held().takeUnit('beacon-a-x');
    expect(codeOf(() => held().takeUnit('beacon-a-x'))).toBe('busy');
    held().takeUnit('beacon-a-y')();
    release();
    held().takeUnit('beacon-a-x')();
  });

  it('counts for nothing when its process is gone', () => {
    const gone = { pid: process.pid, start: '1', boot: 'another' };
    writeFileSync(`${host.places.held}/work-beacon-a-x`, JSON.stringify(gone));
    writeFileSync(`${host.places.held}/work-beacon-a-z`, '');
    for (let pid = 1; pid <= MOST_GATES; pid++)
      writeFileSync(`${host.places.held}/gate-${pid}`, JSON.stringify(gone));
    held().takeUnit('beacon-a-x')();
    held().takeUnit('beacon-a-z')();
    held().takePlace()();
  });

  it('R12: is sixteen gates at most', () => {
    const file = `${host.places.held}/gate-${process.pid}`;
    held().takePlace();
    const own = readFileSync(file);
    for (let count = 1; count < MOST_GATES; count++) writeFileSync(`${host.places.held}/gate-x${count}`, own);
    expect(codeOf(() => held().takePlace())).toBe('too-many-gates');
  });
});
