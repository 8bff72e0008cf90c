import { describe, expect, it } from '@jest/globals';
import { GitHubError } from '../src/index.ts';
import { readDownload, readGroup, readRegistrationToken, readRunner } from '../src/runner-answer.ts';

const runner = {
  id: 23,
  name: 'build-1',
  os: 'linux',
  status: 'online',
  busy: false,
  ephemeral: true,
  version: '2.336.0',
  runner_group_id: 1,
  labels: [{ id: 5, name: 'self-hosted', type: 'read-only' }],
};
const token = { token: 'AABBCC', expires_at: '2026-11-22T12:13:35.123-08:00' };
const download = {
  os: 'linux',
  architecture: 'arm64',
  download_url:
    'https://github.com/actions/runner/releases/download/v2.336.0/actions-runner-linux-arm64-2.336.0.tar.gz',
  filename: 'actions-runner-linux-arm64-2.336.0.tar.gz',
  sha256_checksum: 'AB'.repeat(32),
};
const group = { id: 2, name: 'linux', default: false };

/** A reader, a good answer, and what holds of whatever the reader makes of any other. */
const readers: [string, (value: unknown) => unknown, object, (value: unknown) => boolean][] = [
  [
    'a runner',
    readRunner,
    runner,
    (read) => {
      const { id, name, status, busy, labels } = read as ReturnType<typeof readRunner>;
      return (
        Number.isSafeInteger(id) &&
        id > 0 &&
        !/\p{C}/u.test(name) &&
        ['online', 'offline'].includes(status) &&
        typeof busy === 'boolean' &&
        labels.every((label) => !/\p{C}/u.test(label))
      );
    },
  ],
  [
    'a registration token',
    readRegistrationToken,
    token,
    (read) => {
      const { token: text, expiresAt } = read as ReturnType<typeof readRegistrationToken>;
      return /^[A-Za-z0-9_-]+$/.test(text) && !Number.isNaN(expiresAt.getTime());
    },
  ],
  [
    'a download',
    readDownload,
    download,
    (read) => {
      const found = read as ReturnType<typeof readDownload>;
      if (found === undefined) return true;
      const { architecture, version, filename, url, sha256 } = found;
      return (
        filename === `actions-runner-linux-${architecture}-${version}.tar.gz` &&
        URL.canParse(url) &&
        (sha256 === undefined || /^[0-9a-f]{64}$/.test(sha256))
      );
    },
  ],
  [
    'a runner group',
    readGroup,
    group,
    (read) => typeof (read as ReturnType<typeof readGroup>).isDefault === 'boolean',
  ],
];

/** What is read; undefined where it is refused as malformed, or is no JSON. */
function attempt(read: (value: unknown) => unknown, text: string): { value: unknown } | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  try {
    return { value: read(parsed) };
  } catch (error) {
    expect(error).toBeInstanceOf(GitHubError);
    expect((error as GitHubError).code).toBe('malformed');
    return undefined;
  }
}

describe.each(readers)('%s', (_, read, good, holds) => {
  const text = JSON.stringify(good);

  it('is refused at every length but its own', () => {
    for (let length = 0; length < text.length; length += 1) {
      expect(attempt(read, text.slice(0, length))).toBeUndefined();
    }
  });

  it('with any bit flipped is refused, or still of the right form', () => {
    expect(attempt(read, text)).toBeDefined();
    for (let bit = 0; bit < text.length * 8; bit += 1) {
      const bytes = Buffer.from(text);
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      const read2 = attempt(read, bytes.toString());
      if (read2 !== undefined)
        expect([bytes.toString(), holds(read2.value)]).toEqual([bytes.toString(), true]);
    }
  });

  it.each([null, 5, 'text', [], [{}], {}])('is not %j', (value) => {
    expect(() => read(value)).toThrow(expect.objectContaining({ code: 'malformed' }));
  });

  it.each(Object.keys(good))('with a %s of another kind is refused, or read without it', (name) => {
    for (const value of [{}, [5], -1, 1.5, 2 ** 60, '', '\u0000', true, 'x'.repeat(300)]) {
      const read2 = attempt(read, JSON.stringify({ ...good, [name]: value }));
      if (read2 !== undefined) expect(holds(read2.value)).toBe(true);
    }
  });
});

describe('what may be missing', () => {
  it('is: an old server says nothing of version, group and one job', () => {
    const { ephemeral: _e, version: _v, runner_group_id: _g, ...old } = runner;
    const expected = {
      id: 23,
      name: 'build-1',
      os: 'linux',
      status: 'online',
      busy: false,
      labels: ['self-hosted'],
    };
    expect(readRunner(old)).toEqual(expected);
    expect(readRunner({ ...old, version: null, runner_group_id: null })).toEqual(expected);
  });

  it('is the digest, but not one of another form', () => {
    expect(readDownload({ ...download, sha256_checksum: null })).not.toHaveProperty('sha256');
    expect(readDownload(download)).toMatchObject({ architecture: 'arm64', sha256: 'ab'.repeat(32) });
    expect(() => readDownload({ ...download, sha256_checksum: 'ab' })).toThrow(GitHubError);
  });

  it('is what is for another system; not a file for another architecture', () => {
    expect(readDownload({ ...download, os: 'win' })).toBeUndefined();
    expect(() => readDownload({ ...download, architecture: 'x64' })).toThrow(GitHubError);
  });
});
