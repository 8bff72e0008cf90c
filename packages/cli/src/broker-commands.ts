/** The commands that are typed on a broker's machine, handed on whole to `@beacon/broker`, which nothing else here loads. */
import type { Command } from 'commander';
import type { Finish } from './command-options.ts';

const COMMANDS = {
  init: "make a broker's folder: keys, configuration, the entry for the CA",
  serve: 'run the broker',
  ready: 'ask whether the broker of a configuration is ready, and wait for it',
  check: "check a broker's folder and configuration, and whether the CA knows it",
} as const;

export function addBroker(program: Command, finish: Finish): void {
  const broker = program.command('broker').description('run commands on hosts for people');
  for (const [word, description] of Object.entries(COMMANDS)) {
    broker
      .command(word)
      .description(`${description} (on the broker's machine)`)
      .argument('[arguments...]')
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .action(async (given: string[]) => {
        const { main } = await import('@beacon/broker');
        finish(await main(['broker', word, ...given]));
      });
  }
}
