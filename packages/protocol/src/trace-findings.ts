/**
 * What does not match between the records of one grant: the rules behind `trace.ts`, each a function of what was read. A
 * rule that needs a source which was not read says nothing. The records are compared, not believed: who changes one of
 * them has to change all the others in the same way.
 */
import { BUILT_IN_COMMANDS } from './allowlist.ts';
import type { RecordFields } from './record.ts';
import type { Json } from './strict-json.ts';
import type { TraceFinding, TraceFindingCode, TraceMaterial } from './trace.ts';

interface Granted {
  readonly command: Json | undefined;
  readonly digest: Json | undefined;
}

const ISSUED = ['certificate', 'host-self-test'];
/** What a broker writes of a step once it has heard that the command began. */
const BEGAN = ['step-started', 'step-succeeded', 'step-failed'];

/** What a broker writes of the host's own chain. */
const HEADS = ['session-opened', 'session-closed'];

/** All that does not match, in the order of the rules. */
export function findMismatches(material: TraceMaterial): readonly TraceFinding[] {
  return RULES.flatMap((rule) => rule(material));
}

const RULES: readonly ((material: TraceMaterial) => readonly TraceFinding[])[] = [
  neverIssued,
  otherNames,
  commandsAsGranted,
  startedLate,
  commandsOfRuns,
  commandsOfHost,
  headsOfHost,
  endsOfCommands,
];

function neverIssued({ grant, ca, host, sshd }: TraceMaterial): TraceFinding[] {
  if (ca === undefined) return [];
  const issued = ca.filter(({ kind }) => ISSUED.includes(kind)).map(({ facts }) => facts?.['serial']);
  const found: TraceFinding[] = [];
  if (issued.length === 0 && (host ?? []).length > 0) {
    found.push(finding('never-issued', `the host has records of grant ${grant}, which the CA never issued`));
  }
  const used = [
    ...(sshd ?? [])
      .filter(({ isAccepted }) => isAccepted)
      .map(({ serial }) => ({ serial, where: 'sshd accepted' })),
    ...(host ?? [])
      .filter(({ kind }) => kind === 'session-opened')
      .map(({ facts }) => ({ serial: facts?.['serial'], where: 'the host opened a session for' })),
    ...(host ?? [])
      .filter(({ kind }) => kind === 'grant-replaced')
      .map(({ facts }) => ({ serial: facts?.['by_serial'], where: 'the host let a session go on by' })),
  ];
  for (const { serial, where } of used) {
    if (issued.includes(serial)) continue;
    found.push(
      finding(
        'never-issued',
        `${where} the certificate ${shown(serial)} of grant ${grant}, which the CA never issued`,
      ),
    );
  }
  return once(found);
}

function otherNames({ ca, host, sshd }: TraceMaterial): TraceFinding[] {
  const issued = ca?.find(({ kind }) => ISSUED.includes(kind));
  if (issued === undefined) return [];
  const found: TraceFinding[] = [];
  const compare = (where: string, what: string, said: string | undefined, expected: string | undefined) => {
    if (said === expected) return;
    found.push(
      finding('other-names', `${where} names the ${what} ${shown(said)}, and the CA ${shown(expected)}`),
    );
  };
  for (const { person, isAccepted } of sshd ?? []) {
    if (isAccepted) compare("sshd's log", 'person', person, issued.person);
  }
  for (const { chain, seq, person, service, host: id } of host ?? []) {
    const where = `record ${seq} of ${chain}`;
    compare(where, 'person', person, issued.person);
    compare(where, 'service', service, issued.service);
    compare(where, 'host', id, issued.host);
    compare(where, 'chain', chain, `host/${issued.host}`);
  }
  return once(found);
}

/** Each command by its place in the grant: the same name, the same digest of its arguments, and started once. */
function commandsAsGranted({ ca, host }: TraceMaterial): TraceFinding[] {
  const issued = ca?.find(({ kind }) => kind === 'certificate');
  if (issued === undefined) return [];
  const list = issued.facts?.['commands'];
  const granted: readonly Json[] = Array.isArray(list) ? list : [];
  const seen = new Set<Json | undefined>();
  return commandsStarted(host).flatMap(({ chain, seq, facts }) => {
    const index = facts?.['index'];
    const allowed = typeof index === 'number' ? readGranted(granted[index]) : undefined;
    const [command, digest] = [facts?.['command'], facts?.['digest']];
    const where = `record ${seq} of ${chain}: ${shown(command)}`;
    if (allowed === undefined || allowed.command !== command) {
      return [finding('not-granted', `${where} ran, which is not at its place in the grant`)];
    }
    if (seen.has(index)) return [finding('not-granted', `${where} ran a second time under the same grant`)];
    seen.add(index);
    if (allowed.digest === digest) return [];
    return [finding('digest-mismatch', `${where} ran with other arguments than the CA was asked about`)];
  });
}

function startedLate({ ca, host }: TraceMaterial): TraceFinding[] {
  const until = ca?.find(({ kind }) => ISSUED.includes(kind))?.facts?.['valid_before'];
  const end = typeof until === 'string' ? Date.parse(until) : Number.NaN;
  if (Number.isNaN(end)) return [];
  return commandsStarted(host)
    .filter(({ time }) => time.getTime() >= end)
    .map(({ chain, seq, facts }) =>
      finding(
        'started-late',
        `record ${seq} of ${chain}: ${shown(facts?.['command'])} started when the grant had ended`,
      ),
    );
}

function commandsOfRuns({ grant, broker, host }: TraceMaterial): TraceFinding[] {
  if (broker === undefined || broker.some((record) => isOfGrant(record, grant))) return [];
  // What a gate answers of its records is asked for by whoever joins them, and by no run.
  const commands = commandsStarted(host).filter(({ facts }) => !isBuiltIn(facts?.['command']));
  return commands.map(({ chain, seq, facts }) =>
    finding(
      'command-without-run',
      `record ${seq} of ${chain}: ${shown(facts?.['command'])} ran, and no run of the broker has this grant`,
    ),
  );
}

/** What the broker heard of its steps under this grant, against what the host wrote. */
function commandsOfHost({ grant, broker, host }: TraceMaterial): TraceFinding[] {
  if (broker === undefined || host === undefined) return [];
  const found: TraceFinding[] = [];
  const steps = broker.filter((record) => record.grant === grant && BEGAN.includes(record.kind));
  for (const { kind, facts } of steps) {
    const command = facts?.['command'];
    const where = `the run says that ${shown(command)}`;
    const began = commandsStarted(host).filter((record) => record.facts?.['command'] === command);
    if (began.length === 0) {
      found.push(finding('run-without-command', `${where} began, and the host knows nothing of it`));
      continue;
    }
    if (kind === 'step-started') continue;
    const ends = host.filter(
      (record) => record.kind === 'command-ended' && record.facts?.['command'] === command,
    );
    const hasSucceeded = ends.map(({ facts: end }) => end?.['why'] === 'ended' && end['code'] === 0);
    const isSame = hasSucceeded.includes(kind === 'step-succeeded');
    if (!isSame) {
      found.push(
        finding(
          'outcome-mismatch',
          `${where} ${kind === 'step-succeeded' ? 'succeeded' : 'failed'}, and the host says otherwise`,
        ),
      );
    }
  }
  return once(found);
}

/** The gate says the head of its chain at the beginning of a session and at its end, and the broker keeps both. */
function headsOfHost({ grant, broker, host, hostHashes }: TraceMaterial): TraceFinding[] {
  if (host === undefined) return [];
  return (broker ?? []).flatMap((record) => {
    const { seq, hash } = record.facts ?? {};
    if (record.grant !== grant || !HEADS.includes(record.kind) || typeof seq !== 'number') return [];
    const stands = hostHashes.get(seq);
    // The last record of a session may be of a later grant, which is not read here.
    if (stands === hash || (stands === undefined && record.kind === 'session-closed')) return [];
    return [finding('head-mismatch', `record ${seq} of the host is not the one that the broker was told of`)];
  });
}

function endsOfCommands({ host }: TraceMaterial): TraceFinding[] {
  const last = (host ?? []).findLast(({ kind }) => kind === 'session-closed');
  if (host === undefined || last === undefined) return [];
  return commandsStarted(host)
    .filter(({ seq }) => seq < last.seq)
    .filter(
      ({ seq, facts }) =>
        !host.some(
          (record) =>
            record.kind === 'command-ended' &&
            record.seq > seq &&
            record.facts?.['index'] === facts?.['index'],
        ),
    )
    .map(({ chain, seq, facts }) =>
      finding(
        'command-without-end',
        `record ${seq} of ${chain}: ${shown(facts?.['command'])} began, and its end is missing`,
      ),
    );
}

function commandsStarted(host: readonly RecordFields[] | undefined): readonly RecordFields[] {
  return (host ?? []).filter(({ kind }) => kind === 'command-started');
}

function isBuiltIn(command: Json | undefined): boolean {
  return BUILT_IN_COMMANDS.some((name) => name === command);
}

function isOfGrant({ grant, facts }: RecordFields, wanted: string): boolean {
  return grant === wanted || facts?.['grant'] === wanted;
}

function readGranted(value: Json | undefined): Granted | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return undefined;
  return { command: value['command'], digest: value['digest'] };
}

function once(findings: readonly TraceFinding[]): TraceFinding[] {
  return [...new Map(findings.map((one) => [`${one.code} ${one.text}`, one])).values()];
}

function finding(code: TraceFindingCode, text: string): TraceFinding {
  return { code, text };
}

function shown(value: Json | undefined): string {
  return typeof value === 'string' && value !== '' ? value.slice(0, 100) : 'without a name';
}
