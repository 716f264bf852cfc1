// Compiles every C program of the project and the messages of Hubble's API, and writes the TypeScript
// bindings of the structs.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { bindingsFile, generateBindings } from './bindings.ts';
import { clangVersion, installed } from './clang.ts';
import { root } from './files.ts';
import { generateMessages } from './messages.ts';
import { currentRecord, objectSets, recordName } from './objects.ts';

const version = clangVersion;
const clang = installed(`clang-${version}`, 'clang', 'clang-19', 'clang-15', 'clang-14');
const strip = installed(
  ...[`llvm-strip-${version}`, 'llvm-strip'],
  ...['llvm-strip-19', 'llvm-strip-15', 'llvm-strip-14'],
);
if (!clang || !strip) {
  console.error(
    `generate: clang and llvm-strip are missing (on Debian: apt install clang-${version} lld-${version} llvm-${version})`,
  );
  process.exit(2);
}

for (const set of objectSets) {
  mkdirSync(root + set.objects, { recursive: true });
  for (const { file, source, compile, link } of set.compiled()) {
    execFileSync(clang, [...compile, ...link, source, '-o', file], { cwd: root, stdio: 'inherit' });
    execFileSync(strip, ['-g', file], { cwd: root, stdio: 'inherit' });
    console.log(file);
  }
  writeFileSync(
    `${root}${set.objects}/${recordName}`,
    `${JSON.stringify(currentRecord(set), null, 2)}\n`,
  );
}
mkdirSync(dirname(root + bindingsFile), { recursive: true });
writeFileSync(root + bindingsFile, generateBindings());
console.log(bindingsFile);
generateMessages();
