/**
 * `beacon completion bash|zsh|fish`: a script for the person's shell, made from the same table of commands that is parsed,
 * so that it cannot say anything else. It completes commands and options and asks nobody while it does.
 */
import type { Command } from 'commander';
import { usageError } from './error.ts';

export type Shell = 'bash' | 'zsh' | 'fish';

interface Words {
  /** The commands so far, such as `ca host`. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly description: string }[];
  readonly options: readonly { readonly name: string; readonly description: string }[];
}

export function formatCompletion(program: Command, shell: string): string {
  const table = collect(program, '');
  switch (shell) {
    case 'bash':
      return formatBash(table);
    case 'zsh':
      return formatZsh(table);
    case 'fish':
      return formatFish(table);
    default:
      throw usageError(`no completion is known for ${JSON.stringify(shell)}: name bash, zsh or fish`);
  }
}

function collect(command: Command, path: string): Words[] {
  const own = {
    path,
    commands: command.commands.map((child) => ({ name: child.name(), description: child.description() })),
    options: command.options.flatMap((option) =>
      option.long === undefined ? [] : [{ name: option.long, description: option.description }],
    ),
  };
  return [own, ...command.commands.flatMap((child) => collect(child, `${path} ${child.name()}`.trim()))];
}

/** `case` branches that follow the words typed so far down the table. */
function pathCases(table: readonly Words[]): string {
  return table
    .filter(({ path }) => path !== '')
    .map(({ path }) => `      "${path}") at="${path}" ;;`)
    .join('\n');
}

function wordCases(table: readonly Words[], indent: string): string {
  return table
    .map(({ path, commands, options }) => {
      const words = [...commands, ...options].map(({ name }) => name).join(' ');
      return `${indent}"${path}") words="${words}" ;;`;
    })
    .join('\n');
}

function formatBash(table: readonly Words[]): string {
  return `# bash completion for beacon: source it, or keep it as ~/.local/share/bash-completion/completions/beacon
_beacon() {
  local at="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "\${at:+$at }\${COMP_WORDS[i]}" in
${pathCases(table)}
    esac
  done
  case "$at" in
${wordCases(table, '    ')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _beacon beacon
`;
}

function formatZsh(table: readonly Words[]): string {
  return `#compdef beacon
# zsh completion for beacon: keep it as _beacon in a directory of $fpath
_beacon() {
  local at="" words_here="" i
  for ((i = 2; i < CURRENT; i++)); do
    case "\${at:+$at }\${words[i]}" in
${pathCases(table)}
    esac
  done
  case "$at" in
${wordCases(table, '    ').replaceAll('words=', 'words_here=')}
  esac
  compadd -- \${=words_here}
  [[ "$at" = (certificate|revocations)" show" || "$at" = ssh ]] && _files
}
compdef _beacon beacon
`;
}

function formatFish(table: readonly Words[]): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = table.flatMap(({ path, commands, options }) => {
    const here = `-n ${quote(`test (__beacon_at) = ${path === '' ? '""' : `"${path}"`}`)}`;
    return [
      ...commands.map(
        ({ name, description }) => `complete -c beacon -f ${here} -a ${name} -d ${quote(description)}`,
      ),
      ...options.map(
        ({ name, description }) => `complete -c beacon ${here} -l ${name.slice(2)} -d ${quote(description)}`,
      ),
    ];
  });
  return `# fish completion for beacon: keep it as ~/.config/fish/completions/beacon.fish
function __beacon_at
    set -l at ""
    for word in (commandline -opc)[2..-1]
        switch (string trim -- "$at $word")
            case ${table.flatMap(({ path }) => (path === '' ? [] : [quote(path)])).join(' ')}
                set at (string trim -- "$at $word")
        end
    end
    echo "$at"
end
${lines.join('\n')}
`;
}
