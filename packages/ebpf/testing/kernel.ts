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

/** Loads an object of testdata/, after `change` has had its hands on the Spec. */
export function load(
  name: string,
  options: LoadOptions = {},
  change: (spec: ObjectSpec) => ObjectSpec = (spec) => spec,
): LoadedObject {
  return loadObject(bpf, platform, change(readObject(fixture(`${name}.o`))), options);
}

export const u32 = (...words: number[]) => new Uint8Array(new Uint32Array(words).buffer);
export const u64 = (...words: bigint[]) => new Uint8Array(new BigUint64Array(words).buffer);
export const words = (bytes: Uint8Array | undefined) => [...new Uint32Array(bytes!.slice().buffer)];
export const longs = (bytes: Uint8Array | undefined) => [
  ...new BigUint64Array(bytes!.slice().buffer),
];

/** A port like `inner` in which one method is another. */
export function wrapped<K extends keyof Bpf>(inner: Bpf, method: K, replacement: Bpf[K]): Bpf {
  return new Proxy(inner, {
    get(target, name) {
      if (name === method) return replacement;
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Runs `work` and asserts that no descriptor of a bpf object is left over. */
export function withoutLeak(work: () => void): void {
  const before = openFds();
  work();
  assert.deepEqual(openFds(), before, 'bpf descriptors that are open afterwards');
}

/** What the descriptors of bpf objects in this process refer to. */
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
    // The descriptor by which the directory was listed.
    if ((error as { code?: string }).code === 'ENOENT') return '';
    throw error;
  }
}

/** A bpf file system of its own, in a new directory; disposal removes the pins in it. */
export function temporaryBpffs(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'heddle-ebpf-'));
  mountBpffs(platform, path);
  return {
    path,
    [Symbol.dispose]() {
      for (const name of readdirSync(path)) {
        // The kernel's own; in each bpf file system, and not to be removed.
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
  /** Runs `work` with this process inside the cgroup. */
  enter<T>(work: () => T): T;
}

let cgroups = 0;

export function temporaryCgroup(): TemporaryCgroup {
  const path = `${cgroupRoot}/heddle-ebpf-${process.pid}-${cgroups++}`;
  const home = readFileSync('/proc/self/cgroup', 'utf8').match(/^0::(.*)$/m)![1]!;
  mkdirSync(path);
  const fd = openFile(platform, path, O_DIRECTORY);
  const move = (to: string) => writeFileSync(`${to}/cgroup.procs`, String(process.pid));
  return {
    fd,
    enter(work) {
      move(path);
      try {
        return work();
      } finally {
        move(`${cgroupRoot}${home}`);
      }
    },
    [Symbol.dispose]() {
      closeFd(platform, fd);
      rmdirSync(path);
    },
  };
}

const CLONE_NEWNET = 0x40000000;

/**
 * Runs `work` in a new network namespace whose loopback device is up. In one synchronous stretch,
 * because a thread is what enters a namespace.
 */
export function inNewNamespace<T>(work: () => T): T {
  const nr = syscallNumbers(platform);
  const home = openFile(platform, '/proc/thread-self/ns/net');
  try {
    checked('unshare', platform.syscall(nr.unshare, CLONE_NEWNET), 'make network namespace');
    try {
      raiseLoopback();
      return work();
    } finally {
      checked('setns', platform.syscall(nr.setns, home, CLONE_NEWNET), 'go back home');
    }
  } finally {
    closeFd(platform, home);
  }
}

/** The loopback device's index, in every namespace. */
export const loopback = 1;

function raiseLoopback(): void {
  const nr = syscallNumbers(platform);
  const socket = checked('socket', platform.syscall(nr.socket, 2, 2, 0));
  // struct ifreq: name (16 bytes), flags; SIOCSIFFLAGS; IFF_UP | IFF_RUNNING.
  const request = new Uint8Array(40);
  request.set([0x6c, 0x6f]);
  request[16] = 0x41;
  checked('ioctl', platform.syscall(nr.ioctl, socket, 0x8914, request), 'raise lo');
  closeFd(platform, socket);
}
