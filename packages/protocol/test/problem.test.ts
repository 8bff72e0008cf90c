import { problemKind, problemKinds, problemType, readProblem } from '@beacon/protocol/problem';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

const problem = {
  type: 'urn:beacon:problem:denied',
  title: 'Denied',
  status: 403,
  code: 'policy-denied',
  detail: 'No policy allows runner.install on build-01: ask an administrator of the pool.',
  id: '01hzzzzzzz0123456789abcdef',
};

describe('problems', () => {
  it('are of eight kinds, each with a type of its own', () => {
    expect(problemKinds).toHaveLength(8);
    expect(new Set(problemKinds.map(problemType)).size).toBe(8);
    for (const kind of problemKinds) expect(problemKind(problemType(kind))).toBe(kind);
  });

  for (const type of ['', 'denied', 'about:blank', 'urn:beacon:problem:', 'urn:beacon:problem:Denied']) {
    it(`have no kind for ${JSON.stringify(type)}`, () => {
      expect(problemKind(type)).toBeUndefined();
    });
  }

  it('are read as they were written, with what a denial adds', () => {
    expect(readProblem(JSON.stringify(problem))).toEqual(problem);
    const denied = { ...problem, denial: { longest_lifetime_seconds: 900, policies: ['runners'] } };
    expect(readProblem(JSON.stringify(denied))).toEqual(denied);
  });

  it('leave out members that they do not know (RFC 9457, section 3.2)', () => {
    expect(readProblem(JSON.stringify({ ...problem, trace: 'x' }))).toEqual(problem);
  });

  for (const member of Object.keys(problem)) {
    it(`are nothing of ours without ${member}, or with another type of it`, () => {
      expect(readProblem(JSON.stringify({ ...problem, [member]: undefined }))).toBeUndefined();
      expect(readProblem(JSON.stringify({ ...problem, [member]: null }))).toBeUndefined();
      expect(readProblem(JSON.stringify({ ...problem, [member]: [1] }))).toBeUndefined();
    });
  }

  for (const text of ['', '<html>502 Bad Gateway</html>', 'null', '[]', '"denied"', '{', '{"type":1e3}']) {
    it(`are not read from ${text || 'nothing'}`, () => {
      expect(readProblem(text)).toBeUndefined();
    });
  }

  it('never throw, whatever a server answers', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json({ maxDepth: 2 })), (text) => void readProblem(text)));
  });
});
