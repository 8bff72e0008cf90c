'use strict';
// Prints what this runtime has compiled of the program that its one argument names, for launch.cjs to start from. All
// functions are compiled, not only those that a run happens to call; the flag does not stay in what is printed. Called with
// --predictable, it prints the same bytes each time on one machine; on others they may differ, so each machine makes its own.
const { readFileSync, writeSync } = require('node:fs');
const v8 = require('node:v8');
const { Script } = require('node:vm');

const filename = process.argv[2];
v8.setFlagsFromString('--no-lazy');
const script = new Script(readFileSync(filename, 'utf8'), { filename });
v8.setFlagsFromString('--lazy');
const compiled = script.createCachedData();
for (let at = 0; at < compiled.length; ) at += writeSync(1, compiled, at);
