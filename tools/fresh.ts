// Fails if a generated file does not match its sources. Needs no compiler.
import { existsSync, readFileSync } from 'node:fs';
import { bindingsFile, generateBindings } from './bindings.ts';
import { projectFiles, root } from './files.ts';
import { staleMessages } from './messages.ts';
import { currentRecord, objectSets, recordName } from './objects.ts';
import { chartFolder, settingsFiles } from './settings.ts';
import { tuningFiles } from './tuning.ts';

const stale: string[] = [];
for (const set of objectSets) {
  if (set.compiled().length === 0) continue;
  const path = `${root}${set.objects}/${recordName}`;
  const recorded = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  const current = currentRecord(set);
  for (const file of new Set([...Object.keys(recorded), ...Object.keys(current)])) {
    if (recorded[file] !== current[file]) stale.push(file);
  }
}
if (
  !existsSync(root + bindingsFile) ||
  readFileSync(root + bindingsFile, 'utf8') !== generateBindings()
) {
  stale.push(bindingsFile);
}
for (const file of stale) console.error(`${file}: changed since the objects were compiled`);
if (stale.length > 0) {
  console.error('run `npm run generate` (it needs clang) and commit what it writes');
  process.exitCode = 1;
}

for (const file of staleMessages()) {
  console.error(`${file}: changed since Hubble's messages were compiled; run \`npm run generate\``);
  process.exitCode = 1;
}

const made = settingsFiles();
const others = projectFiles('').filter((file) => file.startsWith(chartFolder) && !made.has(file));
const outdated = [...made]
  .filter(([file, text]) => !existsSync(root + file) || readFileSync(root + file, 'utf8') !== text)
  .map(([file]) => file);
for (const file of [...outdated, ...others]) {
  console.error(
    `${file}: not what \`node tools/settings.ts\` makes of the settings; run it and commit`,
  );
  process.exitCode = 1;
}

for (const [file, text] of tuningFiles()) {
  if (existsSync(root + file) && readFileSync(root + file, 'utf8') === text) continue;
  console.error(
    `${file}: not what \`node tools/tuning.ts\` makes of the checks; run it and commit`,
  );
  process.exitCode = 1;
}
