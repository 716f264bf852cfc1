// The compiler of the BPF programs, and how it is called.
import { spawnSync } from 'node:child_process';
import { root } from './files.ts';
import type { ObjectSet } from './objects.ts';

/**
 * The version of clang that made the committed objects and formats the sources. Other versions compile the programs,
 * too, but format them differently.
 */
export const clangVersion = 16;

/** The exit code of a check that this machine lacks the tools for. */
export const exitNotRun = 3;

/** Returns the first of the commands that this machine has. */
export function installed(...commands: readonly string[]): string | undefined {
  return commands.find((command) => spawnSync(command, ['--version']).status === 0);
}

// The compiler for this machine has the UAPI headers (linux/bpf.h) in such a folder.
const headers = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;

/** Returns the arguments that all programs of a set are compiled with, but for the source and the result. */
export function compilerArguments({ sources }: ObjectSet): string[] {
  return [
    ...['-g', '-O2', '-target', 'bpf', '-mcpu=v3', '-std=gnu11'],
    ...['-Wall', '-Wextra', '-Werror', '-Wno-unused-parameter'],
    // The objects are the same bytes wherever the repository lies.
    ...[`-ffile-prefix-map=${root}=`, '-fdebug-compilation-dir=.'],
    ...[`-I${sources}`, `-I${headers}`],
  ];
}
