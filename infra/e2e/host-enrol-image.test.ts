/** An image that is laid out by the archive against a real CA: with its trust documents, without a token. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatPublicKeyLine } from '@beacon/ssh';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { publish, startTrustLab, type TrustLab } from '../../packages/ca/test/trust-lab.ts';
import { HostImage, listTree, treeDifferences } from '../lab/host-image.ts';
import { whyNoLab } from '../lab/possible.ts';
import { runProgram } from '../lab/system-command.ts';

const why = whyNoLab();

(why === undefined ? describe : describe.skip)('the image of hosts to be', () => {
  let image: HostImage;
  let ca: TrustLab;
  const beacon = (...words: string[]) =>
    runProgram([join(image.archive, 'beacon'), 'host', ...words, '--root', image.root]);

  beforeAll(async () => {
    ca = await startTrustLab();
    await publish(ca);
    image = await HostImage.make('image');
    await image.buildArchive();
    writeFileSync(join(image.folder, 'root.pub'), `${formatPublicKeyLine(ca.root.publicKey)}\n`);
  }, 120_000);
  afterAll(async () => {
    await image?.close();
    await ca?.ca.close();
  });

  test('I6: is laid out without a token, refuses one, and is as before when it is taken back', async () => {
    const pristine = listTree(image.at('etc'));
    const words = ['init', '--id', 'image', '--ca', ca.ca.url, '--root-key', join(image.folder, 'root.pub')];
    const done = await beacon(...words);
    expect(done).toMatchObject({ status: 0, stdout: expect.not.stringContaining('host-cert.pub') });
    expect(await beacon('check')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('note   host certificate: there is none'),
    });
    writeFileSync(join(image.folder, 'token'), `beacon-host-1.${'A'.repeat(43)}.${'A'.repeat(43)}\n`);
    const refused = await beacon(...words.slice(0, 5), '--token-file', join(image.folder, 'token'));
    expect(refused).toMatchObject({ status: 64, stderr: expect.stringContaining('leave --token-file out') });
    expect(await beacon('remove', '--purge')).toMatchObject({ status: 0 });
    expect(treeDifferences(pristine, listTree(image.at('etc')))).toEqual([]);
    rmSync(image.at('/opt/runtime'), { recursive: true });
  }, 120_000);
});
