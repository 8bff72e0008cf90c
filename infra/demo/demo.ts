/** `scripts/demo`: shows everything once and exits (`--once`), or shows it, stays up, and says what to try. */
import { parseArgs } from 'node:util';
import { DemoBroker } from './broker-stage.ts';
import { programOf, runChecks } from './checks.ts';
import { type GateStage, offerCommands, openGateStage, prepareEnrolment } from './gate-stage.ts';
import { logIn } from './login.ts';
import { Stage } from './stage.ts';

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } });
const say = (text: string) => void process.stderr.write(`${text}\n`);

let broker: DemoBroker | undefined;
const stage = await Stage.open(say, {
  prepare: async (caFolder, opened) => {
    offerCommands(caFolder);
    await prepareEnrolment(caFolder, opened);
    broker = await DemoBroker.make(opened, caFolder);
  },
});
let gates: GateStage | undefined;
let stopping: Promise<void> | undefined;
const close = async () => {
  await gates?.close();
  await stage.close();
};
const stop = () => (stopping ??= close());
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void stop().then(() => process.exit(130)));
}
try {
  if (broker === undefined) throw new Error('there is no broker');
  await broker.serve();
  say(`broker on ${broker.url}, its files in ${broker.folder}`);
  say("\n— ada, the administrator, logs in by a code that she types into the CA's page");
  await logIn(stage, 'ada');
  for (const [id, pool] of [
    ['web-01', 'web'],
    ['web-02', 'web'],
  ] as const) {
    await stage.addHost(id, pool);
    say(`  $ beacon ca host add ${id} …: sshd runs, trusts the CA and nothing else`);
  }
  say('\n— lin logs in');
  await logIn(stage, 'lin');
  const api = await programOf(stage, 'lin');
  say('\n— two machines become managed hosts');
  gates = await openGateStage(stage, api, say);
  for (const { target } of gates.hosts)
    say(`  ${target.name} is a managed host: its gate runs its own list only`);
  if (values.once) {
    const { checks, leftOut } = await runChecks(stage, { gates, api, brokerUrl: broker.url }, say);
    const ok = Object.values(checks).every((check) => check.ok && check.control);
    process.stdout.write(`${JSON.stringify({ demo: 'once', ok, checks, left_out: leftOut })}\n`);
    process.exitCode = ok ? 0 : 1;
  } else {
    const { grant } = await runChecks(stage, { gates, api, brokerUrl: broker.url }, say);
    await logIn(stage, 'lin');
    const home = stage.environment('lin')['HOME'];
    const site = gates.hosts[0].target.name;
    const runner =
      gates.why === undefined
        ? `
  npx beacon run --procedure runner.provision ${site} scope=example/shop name=mine mode=stays
  npx beacon run ${site} runner.list
  npx beacon run --procedure runner.retire ${site} scope=example/shop name=mine`
        : '';
    say(`
Everything stays up until you press Ctrl-C. In a browser, as anybody you choose: ${broker.url}/login
To try more, in another terminal, as lin:

  export HOME=${home} BEACON_BROKER=${broker.url}
  npx beacon whoami
  npx beacon hosts
  npx beacon hosts ${site}
  npx beacon run ${site} site.deploy name=mine${runner}
  npx beacon runs
  npx beacon records trace ${grant}
  npx beacon ssh web-01 -- uname -a
  npx beacon ssh web-02
  npx beacon policy explain --host web-01 --login ${stage.login}
  npx beacon logout

As ada, the administrator:  export HOME=${stage.environment('ada')['HOME']}
  npx beacon ca host list
  npx beacon records tail

To log in yourself:  npx beacon login ${stage.caUrl}
The CA's files: ${stage.folder}/ca    its log: ${stage.folder}/ca.log
The broker's files: ${broker.folder}    its log: ${stage.folder}/broker.log
`);
    await new Promise(() => undefined);
  }
} finally {
  await stop();
}
