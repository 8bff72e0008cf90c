import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Owner, requireSafePath, requireSafeProgram } from '../src/safe-path.ts';
import { codeOf } from './refusal.ts';
import { isRoot, SmallHost } from './small-host.ts';

let host: SmallHost;
let owner: Owner;
let at: (name: string) => string;
beforeEach(async () => {
  host = await SmallHost.open();
  owner = { uid: process.getuid?.() ?? 0, below: host.folder };
  at = (name) => join(host.folder, name);
  mkdirSync(at('a/b'), { recursive: true });
  writeFileSync(at('a/b/file'), '', { mode: 0o755 });
});
afterEach(() => host.close());

describe('a path', () => {
  it('is safe when nobody else can change any part of it', () => {
    expect(requireSafePath(at('a/b/file'), owner)).toBe(at('a/b/file'));
    expect(codeOf(() => requireSafeProgram('/bin/sh', { uid: 0, below: '/' }))).toBe('accepted');
  });

  it.each(['a', 'a/b', 'a/b/file'])('G14: is not when others can write %s', (part) => {
    for (const mode of [0o775, 0o757, 0o1777]) {
      chmodSync(at(part), mode);
      expect(codeOf(() => requireSafePath(at('a/b/file'), owner))).toBe('path-unsafe');
    }
  });

  it('G15: is looked at behind every link on its way', () => {
    mkdirSync(at('open'));
    chmodSync(at('open'), 0o777);
    symlinkSync('a/b', at('direct'));
    symlinkSync(at('a'), at('open/hop'));
    symlinkSync('open/hop/b', at('through'));
    expect(requireSafePath(at('direct/file'), owner)).toBe(at('a/b/file'));
    expect(codeOf(() => requireSafePath(at('through/file'), owner))).toBe('path-unsafe');
    symlinkSync('loop', at('loop'));
    expect(codeOf(() => requireSafePath(at('loop'), owner))).toBe('path-unsafe');
  });

  it('is not when it is missing, and no program when it is a folder or may not be executed', () => {
    expect(codeOf(() => requireSafePath(at('none'), owner))).toBe('path-unsafe');
    expect(codeOf(() => requireSafeProgram(at('a'), owner))).toBe('path-unsafe');
    chmodSync(at('a/b/file'), 0o644);
    expect(codeOf(() => requireSafeProgram(at('a/b/file'), owner))).toBe('path-unsafe');
  });

  (isRoot ? it : it.skip)('is not when it belongs to somebody else', () => {
    chownSync(at('a/b'), 65534, 65534);
    expect(codeOf(() => requireSafePath(at('a/b/file'), owner))).toBe('path-unsafe');
  });
});
