/** The gate's commands on a host, handed on whole to `@beacon/gate`, which nothing else here ever loads. */
import type { Command } from 'commander';
import type { Finish } from './command-options.ts';

export function addGate(program: Command, finish: Finish): void {
  const gate = program.command('gate').description('what this host is willing to run');
  for (const [word, description] of [
    ['check', 'print the contract in words, with what would keep commands from running'],
    ['list', 'print the contract as JSON'],
    ['recover', 'stop and take back what gates that died have left'],
  ] as const) {
    gate
      .command(word)
      .description(`${description} (on the host)`)
      .argument('[arguments...]')
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .action(async (given: string[]) => {
        const { main } = await import('@beacon/gate');
        finish(await main([word, ...given]));
      });
  }
}
