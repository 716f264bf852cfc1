import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { checked, encodeCString, type Platform, syscallNumbers } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { NetlinkSocket, NetworkNamespace } from '../src/index.ts';

/** The platform of this package's kernel tests. */
export const platform: Platform = nodePlatform();

/** Creates a network namespace without a name, which ends with the process, and a socket in it. */
export function sandbox(): Disposable & { namespace: NetworkNamespace; socket: NetlinkSocket } {
  const namespace = NetworkNamespace.create(platform);
  const socket = namespace.enter(() => new NetlinkSocket(platform));
  return {
    namespace,
    socket,
    [Symbol.dispose]() {
      socket[Symbol.dispose]();
      namespace[Symbol.dispose]();
    },
  };
}

/** Runs `work` and fails if it left a descriptor open. */
export function withoutFdLeak(work: () => void): void {
  const before = readdirSync('/proc/self/fd').length;
  work();
  assert.equal(readdirSync('/proc/self/fd').length, before, 'a file descriptor was left open');
}

const BPF_PROG_LOAD = 5;
const BPF_PROG_TYPE_SCHED_CLS = 3;

/** Loads a tc program that returns 0 and returns its descriptor. Throws SysError. */
export function loadClassifier(): number {
  // r0 = 0; exit
  const instructions = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
  const license = encodeCString('GPL');
  // The first fields of union bpf_attr: type, number of instructions, instructions, license.
  const attributes = new Uint8Array(128);
  const view = new DataView(attributes.buffer);
  view.setUint32(0, BPF_PROG_TYPE_SCHED_CLS, true);
  view.setUint32(4, instructions.length / 8, true);
  view.setBigUint64(8, platform.addressOf(instructions), true);
  view.setBigUint64(16, platform.addressOf(license), true);
  const nr = syscallNumbers(platform).bpf;
  const result = platform.syscall(nr, BPF_PROG_LOAD, attributes, attributes.length);
  // The kernel reads both arrays by their addresses during the call.
  assert.ok(instructions.length > 0 && license.length > 0);
  return checked('bpf', result, 'load tc program');
}
