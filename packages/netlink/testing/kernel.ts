import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { NetlinkSocket, NetworkNamespace } from '../src/index.ts';

/** What kernel tests of this package run on. Its namespaces have no name and die with the process. */
export const platform: Platform = nodePlatform();

/** A fresh namespace, and a socket in it. */
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
