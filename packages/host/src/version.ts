/** The release of this program, said with each request. It stands here because a bundled program has no package file. */
export const HOST_VERSION = '0.1.0';
