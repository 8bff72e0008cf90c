/** The gate's own version, said in `hello`. It stands here because a bundled gate has no package file beside it. */
export const GATE_VERSION = '0.1.0';
