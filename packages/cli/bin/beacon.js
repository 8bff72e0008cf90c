#!/usr/bin/env node
// The way into the compiled command. It also has to speak where Node is too old to read the rest.
const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 14)) {
  process.stderr.write(
    `beacon: Node 22.14 or later is needed, and this is ${process.version}: install a newer Node\n`,
  );
  process.exitCode = 69;
} else {
  import('../dist/main.js').catch((error) => {
    const missing = error !== null && error.code === 'ERR_MODULE_NOT_FOUND';
    process.stderr.write(missing ? 'beacon: not built yet: run npm run build\n' : `beacon: ${error}\n`);
    process.exitCode = 70;
  });
}
