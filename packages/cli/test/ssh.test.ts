import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type SmallCa, startSmallCa } from '../../client/test/small-ca.ts';
import { createHome, type Home } from './command.ts';
import { type RealSshd, startSshd } from './real-sshd.ts';

describe('beacon ssh', () => {
  let ca: SmallCa;
  let sshd: RealSshd;
  let home: Home;
  let target: string;

  beforeAll(async () => {
    ca = await startSmallCa();
    sshd = await startSshd({ hostId: 'build-01', userCa: ca.userCa, hostCa: ca.hostCa });
    ca.knobs.hosts.push({ id: 'build-01', address: '127.0.0.1', port: sshd.port, logins: [sshd.login] });
    target = `${sshd.login}@build-01`;
    home = createHome();
    const login = await home.run(['login', ca.url]);
    expect(login.status).toBe(0);
  });

  afterAll(async () => {
    await sshd.stop();
    await ca.close();
    home.remove();
  });

  it('runs a command on a host that trusts nothing but the CA', async () => {
    const result = await home.run(['ssh', target, '--', 'echo', 'hello']);
    expect(result.stderr).toBe('');
    expect(result).toMatchObject({ status: 0, stdout: 'hello\n' });
    expect(readdirSync(home.directory).filter((name) => name.startsWith('beacon-'))).toEqual([]);
  });
});
