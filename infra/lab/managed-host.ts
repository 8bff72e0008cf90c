/**
 * A managed host, whatever it stands on: a whole machine of the lab (`init-host.ts`), or, where there is no root, an sshd
 * of one's own on loopback (`rootless-host.ts`). Tests and the demo know it by this.
 */
/** Where OpenSSH's client finds a gate. */
export interface GateTarget {
  readonly name: string;
  readonly address: string;
  /** 22 unless given. */
  readonly port?: number;
  /** The public half of the host's own key, one line. */
  readonly hostKey: string;
}

export interface ManagedHost {
  readonly target: GateTarget;
  /** The account that a certificate enters. */
  readonly login: string;
  /** The account that commands run as. */
  readonly runsAs: string;
  /** The path on the host of what lies at `path` below the host's own root. */
  readonly at: (path: string) => string;
  /** Replaces the allowlist. */
  readonly allow: (allowlist: object) => Promise<void>;
  /** A command of the host: a shell script, which only the host's owner can change. The result is its path. */
  readonly command: (name: string, body: string) => Promise<string>;
  /** The lines of the host's record chain. */
  readonly records: () => Promise<string[]>;
  /** Runs a shell script on the host as its owner; it stops at the first command that fails. The result is its output. */
  readonly script: (text: string) => Promise<string>;
  /** What its sshd has said so far. */
  readonly sshdLog: () => Promise<string>;
}
