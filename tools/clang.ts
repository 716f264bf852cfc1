// The compiler of the C sources, and how it is called.
import { spawnSync } from 'node:child_process';
import { root } from './files.ts';

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

const warnings = ['-Wall', '-Wextra', '-Werror', '-Wno-unused-parameter'];

/** Returns the arguments that all BPF programs of a folder are compiled with. */
export function bpfArguments(sources: string): string[] {
  return [
    ...['-g', '-O2', '-target', 'bpf', '-mcpu=v3', '-std=gnu11', ...warnings],
    // The objects are the same bytes wherever the repository lies.
    ...[`-ffile-prefix-map=${root}=`, '-fdebug-compilation-dir=.'],
    ...[`-I${sources}`, `-I${headers}`],
  ];
}

/** Returns the arguments for a small static executable without a C library. */
export function executableArguments(arch: 'x64' | 'arm64') {
  const target = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[arch];
  return {
    compile: [
      ...['-Os', '-target', target, '-ffreestanding', '-std=gnu11', ...warnings],
      ...['-Wno-missing-field-initializers', '-fno-pic', '-fno-stack-protector'],
      // The headers of the two architectures differ only in what the sources define themselves.
      ...['-fno-asynchronous-unwind-tables', `-I${headers}`],
    ],
    link: [
      ...['-static', '-nostdlib', '-fuse-ld=lld', '-Wl,-s,--build-id=none,--gc-sections'],
      '-Wl,-z,noseparate-code,-z,norelro,-z,noexecstack',
    ],
  };
}
