/**
 * What PAM asks before sshd lets an account in: the `account` lines of its service, with what they include, and the rules
 * of pam_access. Reads; decides nothing.
 */
import { basename, join } from 'node:path';

const FOLDER = '/etc/pam.d';
const RULES = '/etc/security/access.conf';
const MORE_RULES = '/etc/security/access.d';
const DEEPEST = 8;
/** Modules that an operator writes rules for, which may keep an account out. */
const WITH_RULES = /^pam_(listfile|succeed_if|time|script|exec)\.so$/;

/** How the files of a machine are read. */
export interface PamFiles {
  text(path: string): string | undefined;
  /** The names in a folder; none where it is not there. */
  list(path: string): readonly string[];
}

export interface PamFacts {
  /** The lines of the rules of pam_access, where sshd asks it. */
  readonly accessRules: readonly string[] | undefined;
  /** Other modules that may keep an account out, as their lines say it. */
  readonly others: readonly string[];
}

interface AccountLine {
  readonly control: string;
  readonly module: string;
  readonly options: readonly string[];
}

export function readPam(files: PamFiles): PamFacts {
  const lines = accountLines(files, join(FOLDER, 'sshd'), DEEPEST);
  const access = lines.find(({ module }) => module === 'pam_access.so');
  return {
    accessRules: access === undefined ? undefined : readRules(files, access),
    others: lines
      .filter(({ control, module }) => /^(required|requisite|\[)/.test(control) && WITH_RULES.test(module))
      .map(({ module, options }) => [module, ...options].join(' ')),
  };
}

function accountLines(files: PamFiles, path: string, depth: number): AccountLine[] {
  if (depth === 0) return [];
  return (files.text(path) ?? '')
    .replaceAll('\\\n', ' ')
    .split('\n')
    .flatMap((line): AccountLine[] => {
      const [, included] = /^\s*@include\s+(\S+)/.exec(line) ?? [];
      if (included !== undefined) return accountLines(files, join(FOLDER, basename(included)), depth - 1);
      const [, control = '', module = '', rest = ''] =
        /^\s*-?account\s+(\[[^\]]*\]|\S+)\s+(\S+)([^#]*)/.exec(line) ?? [];
      if (module === '') return [];
      if (control === 'include' || control === 'substack')
        return accountLines(files, join(FOLDER, basename(module)), depth - 1);
      const options = rest.split(/\s+/).filter((word) => word !== '');
      return [{ control, module: basename(module), options }];
    });
}

function readRules(files: PamFiles, { options }: AccountLine): string[] {
  const named = options.find((option) => option.startsWith('accessfile='))?.slice('accessfile='.length);
  const more = files
    .list(MORE_RULES)
    .filter((name) => name.endsWith('.conf'))
    .sort();
  const paths = named === undefined ? [RULES, ...more.map((name) => join(MORE_RULES, name))] : [named];
  return paths
    .flatMap((path) => (files.text(path) ?? '').split('\n'))
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}
