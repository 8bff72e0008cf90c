import { readFileSync } from 'node:fs';
import { createPolicyEngine, explain, parseCases, parseInventory, runPolicyCases } from '@beacon/policy';
import { describe, expect, test } from '@jest/globals';
import { thrownBy } from './world.ts';

const page = readFileSync(new URL('../../../docs/policy.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```(.*)\n([\s\S]*?)^```$/gm)].map((found) => ({
  kind: found[1] ?? '',
  text: found[2] ?? '',
}));

const inventory = parseInventory(
  JSON.parse(blocks.find(({ kind }) => kind === 'json inventory')?.text ?? ''),
);
const files = blocks
  .filter(({ kind }) => /^cedar .+\.cedar$/.test(kind))
  .map(({ kind, text }) => ({ name: kind.slice('cedar '.length), text }));

/** Blocks of one kind, each with the block that follows it. */
function withAnswer(kind: string, answer: string): { text: string; expected: string }[] {
  return blocks.flatMap((block, index) => {
    if (block.kind !== kind) return [];
    expect(blocks[index + 1]?.kind).toBe(answer);
    return [{ text: block.text, expected: (blocks[index + 1]?.text ?? '').trimEnd() }];
  });
}

describe('the page on the policy language', () => {
  test('has no example that is not run', () => {
    expect(files).toHaveLength(2);
    const known = /^(?:json (?:inventory|case)|cedar (?:refused|[a-z]+\.cedar)|text (?:answer|refusal))$/;
    expect(blocks.filter(({ kind }) => !known.test(kind))).toEqual([]);
  });

  const engine = createPolicyEngine({ files, inventory, provider: 'github' });

  test('its policies need no second look', () => {
    expect(engine.notes).toEqual([]);
  });

  test.each(withAnswer('json case', 'text answer'))('answers as it says: %#', ({ text, expected }) => {
    const [result] = runPolicyCases(engine, inventory, parseCases([JSON.parse(text)]));
    expect(result).toMatchObject({ ok: true, difference: null });
    expect(result && explain(result.decision)).toBe(expected);
  });

  test.each(withAnswer('cedar refused', 'text refusal'))('refuses what it says: %#', ({ text, expected }) => {
    const refusal = thrownBy(() =>
      createPolicyEngine({ files: [{ name: 'policy.cedar', text }], inventory, provider: 'github' }),
    );
    expect(refusal.message).toBe(expected);
  });

  test('the one policy inside a sentence is accepted', () => {
    const inline = [...page.matchAll(/`((?:permit|forbid) \([^`]*;)`/g)].map((found) => found[1] ?? '');
    expect(inline).toHaveLength(1);
    for (const text of inline)
      expect(() => createPolicyEngine({ files: [{ name: 'a', text }], inventory })).not.toThrow();
  });
});
