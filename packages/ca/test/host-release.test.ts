import { readFileSync } from 'node:fs';
import { RELEASE_HEADER } from '@beacon/protocol/release';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { askToken, Machine } from './machine.ts';
import { publish, startTrustLab, type TrustLab } from './trust-lab.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};
/** The release that is so many minor versions from this one; majors are one further where a minor would be below 0. */
const apart = (minors: number): string => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return minor + minors < 0 ? `${major + 1}.0.0` : `${major}.${minor + minors}.7`;
};

let lab: TrustLab;
beforeAll(async () => {
  lab = await startTrustLab();
  await publish(lab);
});
afterAll(() => lab.ca.close());

const newToken = async (host: string) => String((await askToken(lab, host)).body['token']);
const as = (release: string) => ({ headers: { [RELEASE_HEADER]: release } });

test.each(
  [apart(-1), apart(0), apart(1)].filter((release) => release.startsWith(version.split('.')[0] ?? '')),
)('a host of release %s enrols, renews and reports', async (release) => {
  const machine = new Machine(lab.ca, `near-${release.replaceAll('.', '-')}`);
  expect((await machine.enrol(await newToken(machine.id), {}, as(release))).status).toBe(201);
  expect((await machine.renew({}, as(release))).status).toBe(201);
  expect((await machine.report({}, as(release))).status).toBe(200);
});

test.each([apart(-2), apart(2)])(
  'a host of release %s is refused, and why; its token is not used up',
  async (release) => {
    const machine = new Machine(lab.ca, `far-${release.replaceAll('.', '-')}`);
    const token = await newToken(machine.id);
    const refused = {
      status: 409,
      body: expect.objectContaining({
        code: 'release-apart',
        detail: expect.stringContaining('one minor version at a time'),
      }),
    };
    expect(await machine.enrol(token, {}, as(release))).toMatchObject(refused);
    expect((await machine.enrol(token)).status).toBe(201);
    expect(await machine.renew({}, as(release))).toMatchObject(refused);
    expect(await machine.report({}, as(release))).toMatchObject(refused);
  },
);

test('a host that is too far away goes on being told of revocations: trust is read by its own version', async () => {
  for (const path of ['/v1/trust/root', '/v1/trust/status', '/v1/krl']) {
    expect((await fetch(`${lab.ca.url}${path}`, as(apart(2)))).status).toBe(200);
  }
});
