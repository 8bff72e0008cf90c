/** The version of the gate's protocol partner, said in `hello`. It stands here because a bundled gate has no package file. */
export const GATE_VERSION = '0.1.0';
