#!/usr/lib/beacon/node
'use strict';
// Starts the gate that lies beside this file, from what the runtime has compiled of it beforehand. A compiled form that is
// missing, or that another version of the runtime made, is passed over: then the gate is compiled as it starts.
const { readFileSync } = require('node:fs');
const { Script } = require('node:vm');

const filename = `${__filename}.js`;
let cachedData;
try {
  cachedData = readFileSync(`${__filename}.cache`);
} catch {
  // Slower, and no less right.
}
new Script(readFileSync(filename, 'utf8'), { filename, cachedData }).runInThisContext()(require);
