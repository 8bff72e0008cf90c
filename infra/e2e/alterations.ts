/** Single changes to a machine in an image, each with how it is taken back. */
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { ImageUnderTest } from './image-under-test.ts';

/** Changes something; what it answers takes that back. */
export type Alter = () => () => void;

export interface Alterations {
  edit(path: string, change: (text: string) => string): Alter;
  editBytes(path: string, change: (bytes: Buffer) => Buffer): Alter;
  add(path: string, text: string, mode?: number): Alter;
  mode(path: string, to: number, back: number): Alter;
  away(path: string): Alter;
  /** Two shell scripts, run in the image. */
  run(change: string, back: string): Alter;
}

export function alterationsOf(use: () => ImageUnderTest): Alterations {
  const at = (path: string): string => use().at(path);
  const editBytes: Alterations['editBytes'] = (path, change) => () => {
    const before = readFileSync(at(path));
    writeFileSync(at(path), change(before));
    return () => writeFileSync(at(path), before);
  };
  const script = (text: string): void => {
    const { status, stderr } = use().machine.run(['sh', '-ec', text]);
    if (status !== 0) throw new Error(`${text}: ${stderr}`);
  };
  return {
    editBytes,
    edit: (path, change) => editBytes(path, (bytes) => Buffer.from(change(bytes.toString('utf8')))),
    add:
      (path, text, mode = 0o644) =>
      () => {
        writeFileSync(at(path), text, { mode });
        return () => rmSync(at(path));
      },
    mode: (path, to, back) => () => {
      chmodSync(at(path), to);
      return () => chmodSync(at(path), back);
    },
    away: (path) => () => {
      renameSync(at(path), at('/root/away'));
      return () => renameSync(at('/root/away'), at(path));
    },
    run: (change, back) => () => {
      script(change);
      return () => script(back);
    },
  };
}
