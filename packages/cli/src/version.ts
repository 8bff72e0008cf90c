/** The command's version. It stands here because a bundled command has no package file beside it. */
export const VERSION = '0.1.0';
