import { decodeCString, errno } from '@heddle/sys';
import { VmObject } from '../objects.ts';
import type { Files } from './files.ts';
import type { VmNamespace } from './namespace.ts';

/**
 * A socket of the local family. It can listen, so that a server starts and a second one finds the first;
 * but it has no connections. It has the cookie of its network namespace.
 */
export class LocalSocket extends VmObject {
  readonly namespace: VmNamespace;
  #listens = false;

  constructor(namespace: VmNamespace) {
    super('file', 0);
    this.namespace = namespace;
  }

  get listens(): boolean {
    return this.#listens;
  }

  /** `name` is a struct sockaddr_un. */
  bind(files: Files, name: Uint8Array): number {
    const path = decodeCString(name.subarray(2));
    if (files.find(path)) return -errno.EADDRINUSE;
    files.put(path, { kind: 'socket', socket: this, inode: files.nextInode() });
    return 0;
  }

  connect(files: Files, name: Uint8Array): number {
    const node = files.find(decodeCString(name.subarray(2)));
    if (!node) return -errno.ENOENT;
    return node.kind === 'socket' && node.socket.listens ? 0 : -errno.ECONNREFUSED;
  }

  listen(): number {
    this.#listens = true;
    return 0;
  }

  protected override destroy(): void {
    this.#listens = false;
  }
}

/** epoll(7) over sockets that never become readable. */
export class Epoll extends VmObject {
  constructor() {
    super('file', 0);
  }

  protected override destroy(): void {}
}
