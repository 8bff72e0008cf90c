/** The CA's keys in a real ssh-agent, from files and from a PKCS#11 token: what ssh and sshd make of its certificates. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { logIn } from '../demo/login.ts';
import { Stage } from '../demo/stage.ts';
import { RealAgent, SoftToken } from './ssh-agent.ts';

const CONFIGURED = /^ {2}user_ca: .*\n {2}host_ca: .*$/m;

interface Place {
  readonly agent: RealAgent;
  /** Puts two keys into the agent and answers their public lines: user CA, host CA. */
  readonly fill: (caFolder: string) => readonly [string, string];
}

describe.each<[string, (folder: string) => Place, string, string]>([
  ['ssh-agent', fromFiles, 'ssh-ed25519', 'ssh-ed25519'],
  ['ssh-agent with a PKCS#11 token', fromToken, 'ecdsa-sha2-nistp256', 'ssh-rsa'],
])('a CA whose keys are in %s', (_, makePlace, userType, hostType) => {
  let folder: string;
  let place: Place;
  let stage: Stage;
  let lines: readonly [string, string];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'beacon-agent-'));
    place = makePlace(folder);
    await place.agent.start();
    stage = await Stage.open(undefined, {
      prepare: (ca) => {
        lines = place.fill(ca);
        writeFileSync(join(ca, 'keys', 'user_agent.pub'), `${lines[0]}\n`);
        writeFileSync(join(ca, 'keys', 'host_agent.pub'), `${lines[1]}\n`);
        for (const name of ['user_ca', 'host_ca']) rmSync(join(ca, 'keys', name));
        const file = join(ca, 'ca.yaml');
        const inAgent = `  user_ca: { agent: keys/user_agent.pub }\n  host_ca: { agent: keys/host_agent.pub }\n  agent_socket: ${place.agent.socket}`;
        writeFileSync(file, readFileSync(file, 'utf8').replace(CONFIGURED, inAgent));
      },
    });
    for (const person of ['ada', 'lin']) await logIn(stage, person);
    await stage.addHost('web-01', 'web');
  }, 180_000);

  afterAll(async () => {
    await stage?.close();
    await place?.agent.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = () => stage.beacon('lin', ['ssh', 'web-01', '--', 'echo', 'it-ran']);

  test('issues user certificates that sshd accepts and a host certificate that ssh accepts', async () => {
    const ran = await run();
    expect(ran).toMatchObject({ status: 0, stdout: 'it-ran\n' });
    expect(stage.hosts[0]?.log()).toMatch(/Accepted publickey .* CA (ED25519|ECDSA) SHA256:/);
    const [userLine, hostLine] = lines;
    expect([userLine, hostLine].map((line) => line.split(' ')[0])).toEqual([userType, hostType]);
    const certificate = join(stage.hosts[0]?.folder ?? '', 'host_key-cert.pub');
    const shown = execFileSync('ssh-keygen', ['-L', '-f', certificate], { encoding: 'utf8' });
    expect(shown).toMatch(hostType === 'ssh-rsa' ? /Signing CA: RSA .* \(using rsa-sha2-512\)/ : /ED25519/);
  });

  test('issues nothing while the agent is gone, says so at /readyz, and goes on when it is back', async () => {
    const ready = async () => {
      const answer = await fetch(`${stage.caUrl}/readyz`);
      return { ...((await answer.json()) as { checks: unknown }), status: answer.status };
    };
    expect(await ready()).toMatchObject({ status: 200, checks: { signers: 'ok' } });
    await place.agent.stop();
    expect(await ready()).toMatchObject({ status: 503, checks: { signers: 'failing', store: 'ok' } });
    const refused = await run();
    expect(refused).toMatchObject({ status: 255, stdout: '' });
    expect(refused.stderr).toContain('signer-unavailable');
    await place.agent.start();
    place.fill(join(stage.folder, 'ca'));
    expect(await run()).toMatchObject({ status: 0, stdout: 'it-ran\n' });
  });
});

function fromFiles(folder: string): Place {
  const agent = new RealAgent(folder);
  for (const name of ['user', 'host']) {
    const file = join(folder, name);
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', `the ${name} CA`, '-f', file]);
  }
  const fill = () => {
    for (const name of ['user', 'host']) agent.addFile(join(folder, name));
    return twoOf(agent);
  };
  return { agent, fill };
}

function fromToken(folder: string): Place {
  const token = new SoftToken(folder);
  token.generate('EC:prime256v1', '01', 'user-ca');
  token.generate('rsa:3072', '02', 'host-ca');
  const agent = new RealAgent(folder, token.environment);
  const fill = () => {
    agent.addToken(token);
    return twoOf(agent);
  };
  return { agent, fill };
}

function twoOf(agent: RealAgent): readonly [string, string] {
  const lines = agent.publicKeys();
  const user = lines.find((line) => /user/.test(line));
  const host = lines.find((line) => /host/.test(line));
  if (user === undefined || host === undefined) throw new Error(`the agent holds ${lines.join(', ')}`);
  return [user, host];
}
