/** `policy check|test`: policies, inventory and cases as files, without a CA. */
import { createPolicyEngine, explain, parseCases, runPolicyCases } from '@beacon/policy';
import { print, printJson, talk } from '@beacon/server';
import { beside, read, usage } from './arguments.ts';
import { inPolicyFolder, readInventory, readPolicies } from './load.ts';
import { readCases } from './policy-configuration.ts';

function policyEngine(values: { policy?: string; inventory?: string }) {
  const inventory = readInventory(values.inventory ?? beside(undefined, 'inventory.yaml'));
  const folder = values.policy ?? beside(undefined, 'policy');
  const files = readPolicies(folder);
  try {
    return { inventory, files, engine: createPolicyEngine({ files, inventory }) };
  } catch (error) {
    throw inPolicyFolder(folder, error);
  }
}

export async function policyCheck(argv: readonly string[]): Promise<number> {
  const { values } = read(argv, 0, ['policy', 'inventory']);
  const { engine, files } = policyEngine(values);
  const { policies, version, notes, namedTeams, namedOrganizations } = engine;
  if (values.json)
    return printJson({
      ok: true,
      version,
      policies,
      notes,
      teams: namedTeams,
      organizations: namedOrganizations,
    });
  for (const note of notes) talk(`note: ${note}\n`);
  print(`ok: ${policies.length} policies in ${files.length} files, version ${version}\n`);
  return 0;
}

export async function policyTest(argv: readonly string[]): Promise<number> {
  const { values, positionals } = read(argv, 1, ['policy', 'inventory']);
  const [file] = positionals;
  if (file === undefined) throw usage('name the file of cases', 'policy test');
  const { engine, inventory } = policyEngine(values);
  const results = runPolicyCases(engine, inventory, parseCases(readCases(file), file));
  const failed = results.filter((result) => !result.ok);
  if (values.json) {
    printJson({
      ok: failed.length === 0,
      cases: results.map(({ name, ok, difference }) => ({ name, ok, difference })),
    });
  } else {
    for (const result of results) {
      print(
        `${result.ok ? 'ok    ' : 'FAILED'} ${result.name}${result.difference === null ? '' : `: ${result.difference}`}\n`,
      );
      if (!result.ok) print(`${explain(result.decision).replace(/^/gm, '         ')}\n`);
    }
    print(`${results.length - failed.length} passed, ${failed.length} failed\n`);
  }
  return failed.length === 0 ? 0 : 1;
}
