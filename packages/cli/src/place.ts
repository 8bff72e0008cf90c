/**
 * Where the command keeps things, by the XDG base directories: the configuration that a person may edit, and the state
 * that is nobody else's. A relative path in XDG_… is ignored, as that specification says.
 */
import { isAbsolute, join } from 'node:path';

export interface Place {
  /** `config.yaml`: which CA. */
  readonly configurationFile: string;
  /** Session, keys of minutes' life, the anchor of the records. 0700. */
  readonly stateDirectory: string;
}

/** The places for this environment and home directory. */
export function findPlace(environment: Readonly<Record<string, string | undefined>>, home: string): Place {
  const base = (name: string, fallback: string): string => {
    const value = environment[name];
    return join(value !== undefined && isAbsolute(value) ? value : join(home, fallback), 'beacon');
  };
  return {
    configurationFile: join(base('XDG_CONFIG_HOME', '.config'), 'config.yaml'),
    stateDirectory: base('XDG_STATE_HOME', join('.local', 'state')),
  };
}
