import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checked, closeFd, O_DIRECTORY, openFile, removeFile, syscallNumbers } from '@heddle/sys';
import { AF_INET, SOCK_DGRAM } from '@heddle/sys/net';
import { nodePlatform } from '@heddle/sys/node';
import type { Bpf } from '../src/bpf.ts';
import { mountBpffs, unmountBpffs } from '../src/bpffs.ts';
import { LinuxBpf } from '../src/linux-bpf.ts';
import type { LoadedObject } from '../src/loaded-object.ts';
import { type LoadOptions, loadObject } from '../src/loader.ts';
import { readObject } from '../src/object-spec.ts';
import type { ObjectSpec } from '../src/spec.ts';
import { fixture } from './fixture.ts';

export const platform = nodePlatform();
export const bpf = new LinuxBpf(platform);

/** Loads an object of testdata/ whose Spec `change` has changed. */
export function load(
  name: string,
  options: LoadOptions = {},
  change: (spec: ObjectSpec) => ObjectSpec = (spec) => spec,
): LoadedObject {
  return loadObject(bpf, change(readObject(fixture(`${name}.o`))), options);
}

export const u32 = (...words: number[]) => new Uint8Array(new Uint32Array(words).buffer);
export const u64 = (...words: bigint[]) => new Uint8Array(new BigUint64Array(words).buffer);
export const words = (bytes: Uint8Array | undefined) => [...new Uint32Array(bytes!.slice().buffer)];
export const longs = (bytes: Uint8Array | undefined) => [
  ...new BigUint64Array(bytes!.slice().buffer),
];

/** Returns a port like `inner` with another implementation of one method. */
export function wrapped<K extends keyof Bpf>(inner: Bpf, method: K, replacement: Bpf[K]): Bpf {
  return new Proxy(inner, {
    get(target, name) {
      if (name === method) return replacement;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Runs `work` and asserts that it leaves no descriptor of a bpf object open. */
export function withoutLeak(work: () => void): void {
  const before = openFds();
  work();
  assert.deepEqual(openFds(), before, 'bpf descriptors that are open afterwards');
}

/** Returns the targets of the descriptors of bpf objects in this process. */
export function openFds(): string[] {
  return readdirSync('/proc/self/fd')
    .map(target)
    .filter((name) => /bpf|btf/.test(name))
    .sort();
}

function target(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    // The descriptor with which the directory was listed.
    if ((error as { code?: string }).code === 'ENOENT') return '';
    throw error;
  }
}

/** Mounts a bpf file system on a new directory. Disposal removes it with its pins. */
export function temporaryBpffs(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'heddle-ebpf-'));
  mountBpffs(platform, path);
  return {
    path,
    [Symbol.dispose]() {
      for (const name of readdirSync(path)) {
        // Each bpf file system has these of the kernel, which can't be removed.
        if (!name.endsWith('.debug')) removeFile(platform, join(path, name));
      }
      unmountBpffs(platform, path);
      rmdirSync(path);
    },
  };
}

const cgroupRoot = readFileSync('/proc/self/mountinfo', 'utf8')
  .split('\n')
  .find((line) => / - cgroup2 /.test(line))
  ?.split(' ')[4];

export interface TemporaryCgroup extends Disposable {
  readonly fd: number;
  readonly path: string;
  /** Runs `work` with this process inside the cgroup. */
  enter<T>(work: () => T): T;
}

let cgroups = 0;

export function temporaryCgroup(): TemporaryCgroup {
  const path = `${cgroupRoot}/heddle-ebpf-${process.pid}-${cgroups++}`;
  const home = readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(.*)$/m)![1]!;
  mkdirSync(path);
  const directory = openFile(platform, path, O_DIRECTORY);
  const move = (to: string) => writeFileSync(`${to}/cgroup.procs`, String(process.pid));
  return {
    fd: directory.fd,
    path,
    enter(work) {
      move(path);
      try {
        return work();
      } finally {
        move(`${cgroupRoot}${home}`);
      }
    },
    [Symbol.dispose]() {
      directory[Symbol.dispose]();
      rmdirSync(path);
    },
  };
}

const CLONE_NEWNET = 0x40000000;

/**
 * Runs `work` in a new network namespace whose loopback interface is up. `work` is synchronous, because
 * the thread enters the namespace.
 */
export function inNewNamespace<T>(work: () => T): T {
  const nr = syscallNumbers(platform);
  using home = openFile(platform, '/proc/thread-self/ns/net');
  checked('unshare', platform.syscall(nr.unshare, CLONE_NEWNET), 'make network namespace');
  try {
    raiseLoopback();
    return work();
  } finally {
    checked('setns', platform.syscall(nr.setns, home.fd, CLONE_NEWNET), 'go back home');
  }
}

/** The index of the loopback interface in every namespace. */
export const loopback = 1;

function raiseLoopback(): void {
  const nr = syscallNumbers(platform);
  const socket = checked('socket', platform.syscall(nr.socket, AF_INET, SOCK_DGRAM, 0));
  // struct ifreq: name (16 bytes), flags; SIOCSIFFLAGS; IFF_UP | IFF_RUNNING.
  const request = new Uint8Array(40);
  request.set([0x6c, 0x6f]);
  request[16] = 0x41;
  checked('ioctl', platform.syscall(nr.ioctl, socket, 0x8914, request), 'raise lo');
  closeFd(platform, socket);
}
