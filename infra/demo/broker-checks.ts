/**
 * What the demo shows of the broker, each beside its control: a login through the browser, a GitHub runner set up on a
 * host and taken away again with its live output, the joined trace of it, and a command from the command line.
 */
import type { Check } from './checks.ts';
import type { GateStage } from './gate-stage.ts';
import { type PortalAnswer, PortalCaller } from './portal-caller.ts';
import type { Stage } from './stage.ts';

type Say = (text: string) => void;
type Show = (name: string, what: string, check: () => Promise<Check>) => Promise<void>;

const SCOPE = 'example/shop';
const RUNNER = 'demo-1';
const ONLINE_MS = 15_000;

/** What a run came to: its phase, its id, its grants, and what it wrote. */
interface Ended {
  readonly id: string;
  readonly phase: string;
  readonly reason: string;
  readonly output: string;
  readonly grants: readonly string[];
}

/** All checks of the broker, in an order in which each builds on what was shown before. Answers a grant to look at. */
export async function runBrokerChecks(
  {
    stage,
    gates,
    brokerUrl,
  }: { readonly stage: Stage; readonly gates: GateStage; readonly brokerUrl: string },
  say: Say,
  show: Show,
): Promise<string | undefined> {
  const host = gates.hosts[0].target.name;
  let portal: PortalCaller | undefined;
  let grant: string | undefined;
  const lin = (): PortalCaller => {
    if (portal === undefined) throw new Error('lin is not logged in at the portal');
    return portal;
  };
  await show('broker_login', 'lin logs in at the broker, with a browser', async () => {
    portal = await PortalCaller.logIn(brokerUrl, 'lin');
    const stranger = await (await fetch(`${brokerUrl}/`)).text();
    const refused = await (await fetch(`${brokerUrl}/api/hosts`)).json();
    say(`  ${textOf(portal.page)}`);
    return {
      ok: portal.page.includes('<strong>lin</strong>') && portal.page.includes('/openapi.json'),
      control: stranger.includes('Nobody is logged in') && codeOf(refused) === 'not-logged-in',
    };
  });
  if (gates.why === undefined) {
    await show('broker_provisions', `lin sets up a runner for ${SCOPE} on ${host}, for one job`, async () => {
      const wish = { scope: SCOPE, name: RUNNER, mode: 'one-job' };
      const ended = await follow(lin(), await provision(lin(), host, wish), say);
      grant = ended.grants[0];
      const listed = await runnerAt(stage, RUNNER);
      say(`  at GitHub: ${JSON.stringify(listed)}`);
      const denied = await follow(
        lin(),
        await provision(lin(), host, { ...wish, scope: 'other/shop', name: 'demo-2' }),
        () => undefined,
      );
      say(`  for other/shop: ${denied.phase}: ${denied.reason}`);
      return {
        ok: ended.phase === 'succeeded' && ended.output !== '' && listed?.online === true,
        control: denied.phase === 'denied' && (await runnerAt(stage, 'demo-2', 0)) === undefined,
      };
    });
    await show('broker_retires', 'lin retires the runner: at GitHub first, then on the host', async () => {
      const there = await runnerAt(stage, RUNNER, 0);
      const asked = { v: 1, host, procedure: 'runner.retire', params: { scope: SCOPE, name: RUNNER } };
      const ended = await follow(lin(), await lin().post('/api/runs', asked), say);
      const kept = await gates.hosts[0].script('ls /var/lib/beacon/pools');
      return {
        ok:
          ended.phase === 'succeeded' &&
          (await runnerAt(stage, RUNNER, 0)) === undefined &&
          !kept.includes('beacon-r'),
        control: there !== undefined,
      };
    });
  }
  await show('broker_runs', `lin runs site.deploy on ${host} from the command line`, async () => {
    const broker = ['--broker', brokerUrl];
    const ran = await stage.beacon('lin', ['run', ...broker, host, 'site.deploy', 'name=blog']);
    say(`  $ beacon run ${host} site.deploy name=blog\n  ${ran.stdout.trim().replaceAll('\n', '\n  ')}`);
    const refused = await stage.beacon('lin', ['run', ...broker, host, 'site.wipe']);
    say(`  $ beacon run ${host} site.wipe\n  ${refused.stderr.trim().replaceAll('\n', '\n  ')}`);
    if (grant === undefined) {
      const { body } = await lin().get('/api/runs?limit=5');
      [grant] = ((body['runs'] as object[] | undefined) ?? []).flatMap(grantsOf);
    }
    return {
      ok: ran.status === 0 && ran.stdout.includes('blog is live'),
      control: refused.status === 255 && refused.stderr.includes('site.wipe'),
    };
  });
  await show('broker_trace', 'what broker, CA and host wrote down of it, joined', async () => {
    const traced = await stage.beacon('lin', ['records', 'trace', grant ?? '', '--broker', brokerUrl]);
    say(`  $ beacon records trace ${grant}\n  ${traced.stdout.trim().replaceAll('\n', '\n  ')}`);
    const unknown = await stage.beacon('lin', [
      ...['records', 'trace', '00000000000000000000000000', '--broker', brokerUrl],
    ]);
    const chains = ['broker', 'ca', 'host'].every((chain) => traced.stdout.includes(chain));
    return { ok: traced.status === 0 && chains, control: unknown.status !== 0 };
  });
  return grant;
}

function provision(
  portal: PortalCaller,
  host: string,
  params: Readonly<Record<string, string>>,
): Promise<PortalAnswer> {
  return portal.post('/api/runs', { v: 1, host, procedure: 'runner.provision', params });
}

/** Watches a run until it is over; its output is said as it comes. A run that was refused has its reason. */
async function follow(portal: PortalCaller, { status, body }: PortalAnswer, say: Say): Promise<Ended> {
  const id = String(body['id']);
  if (status !== 201) return { id, phase: 'denied', reason: String(body['detail']), output: '', grants: [] };
  let output = '';
  for await (const { kind, data } of portal.events(id)) {
    if (kind === 'stdout' || kind === 'stderr') output += String(data['text'] ?? '');
    if (kind === 'stdout')
      say(
        `  | ${String(data['text'] ?? '')
          .trimEnd()
          .replaceAll('\n', '\n  | ')}`,
      );
    if (kind === 'step') say(`  ${String(data['command'])}: ${String(data['outcome'])}`);
    if (kind === 'note') say(`  ${String(data['text'])}`);
    if (kind === 'over') break;
  }
  const run = (await portal.get(`/api/runs/${id}`)).body;
  const end = run['end'] as { reason?: string } | undefined;
  const phase = String(run['phase']);
  if (phase !== 'succeeded') say(`  ${phase}: ${end?.reason ?? ''}`);
  return { id, phase, reason: end?.reason ?? '', output, grants: grantsOf(run) };
}

function grantsOf(run: object | undefined): string[] {
  const { steps = [] } = (run ?? {}) as { steps?: readonly { grant?: string }[] };
  return [...new Set(steps.flatMap(({ grant }) => (grant === undefined ? [] : [grant])))];
}

/** The runner in the stand-in's list, waiting for it to be online. */
async function runnerAt(
  { standin }: Stage,
  name: string,
  waitMs = ONLINE_MS,
): Promise<{ readonly name: string; readonly online: boolean } | undefined> {
  for (const begin = performance.now(); ; await new Promise((resolve) => setTimeout(resolve, 200))) {
    const found = [...standin.state.runners.runners.values()].find((runner) => runner.name === name);
    const listed = found && { name, online: standin.state.runners.isOnline(found), labels: found.labels };
    if (listed?.online === true || performance.now() - begin >= waitMs) return listed;
  }
}

function codeOf(problem: unknown): string {
  return typeof problem === 'object' && problem !== null && 'code' in problem ? String(problem.code) : '';
}

function textOf(html: string): string {
  const body = html.replace(/^[\s\S]*<body[^>]*>/, '').replace(/<[^>]*>/g, ' ');
  return body.replace(/\s+/g, ' ').trim();
}
