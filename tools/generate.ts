// Compiles every BPF program of the project and writes the TypeScript bindings of its structs.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { bindingsFile, generateBindings } from './bindings.ts';
import { root } from './files.ts';
import { compiledSources, currentRecord, objectSets, recordName } from './objects.ts';

/** The compiler that the committed objects were made with; other versions of clang do as well. */
const candidates = (names: readonly string[]) =>
  names.find((name) => spawnSync(name, ['--version']).status === 0);
const clang = candidates(['clang-16', 'clang', 'clang-19', 'clang-15', 'clang-14']);
const strip = candidates([
  'llvm-strip-16',
  'llvm-strip',
  'llvm-strip-19',
  'llvm-strip-15',
  'llvm-strip-14',
]);
if (!clang || !strip) {
  console.error(
    'generate: clang and llvm-strip are missing (on Debian: apt install clang-16 llvm-16)',
  );
  process.exit(2);
}

// UAPI headers (linux/bpf.h) are where the compiler for this machine has them.
const headers = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;

for (const set of objectSets) {
  mkdirSync(root + set.objects, { recursive: true });
  for (const source of compiledSources(set)) {
    const object = `${set.objects}/${basename(source, '.bpf.c')}.o`;
    execFileSync(
      clang,
      [
        ...['-g', '-O2', '-target', 'bpf', '-mcpu=v3', '-std=gnu11'],
        ...['-Wall', '-Wextra', '-Werror', '-Wno-unused-function', '-Wno-unused-parameter'],
        // The same bytes wherever the repository lies.
        ...[`-ffile-prefix-map=${root}=`, '-fdebug-compilation-dir=.'],
        ...[`-I${set.sources}`, `-I${headers}`],
        ...['-c', source, '-o', object],
      ],
      { cwd: root, stdio: 'inherit' },
    );
    execFileSync(strip, ['-g', object], { cwd: root, stdio: 'inherit' });
    console.log(object);
  }
  writeFileSync(
    `${root}${set.objects}/${recordName}`,
    `${JSON.stringify(currentRecord(set), null, 2)}\n`,
  );
}
mkdirSync(dirname(root + bindingsFile), { recursive: true });
writeFileSync(root + bindingsFile, generateBindings());
console.log(bindingsFile);
