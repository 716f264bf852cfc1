import { errno, SysError } from '@heddle/sys';
import { VmObject } from '../objects.ts';
import type { Pins } from '../vm-bpf.ts';
import { VmCgroup } from './cgroup.ts';
import type { SocketNamespace } from './socket.ts';

/** A file or directory. */
export type Node =
  | Directory
  | { readonly kind: 'file'; bytes: Uint8Array; readonly inode: bigint }
  | { readonly kind: 'pin'; readonly object: VmObject; readonly inode: bigint }
  | { readonly kind: 'namespace'; readonly namespace: SocketNamespace; readonly inode: bigint }
  | {
      readonly kind: 'socket';
      readonly socket: { readonly listens: boolean };
      readonly inode: bigint;
    };

/** A change of a directory's entry. */
export type FileChange = 'created' | 'written' | 'deleted' | 'moved-from' | 'moved-to';

export interface Directory {
  readonly kind: 'directory';
  readonly entries: Map<string, Node>;
  readonly inode: bigint;
  /** The kind of its file system. */
  type: FileSystem;
  /** The cgroup of a directory of the cgroup file system. */
  readonly cgroup?: VmCgroup;
  /** Called for changes of its entries. */
  readonly watchers: Set<(change: FileChange, name: string) => void>;
}

/** The magic numbers of statfs(2) (linux/magic.h). */
export const fileSystems = { tmpfs: 0x01021994, bpf: 0xcafe4a11, cgroup2: 0x63677270 } as const;
export type FileSystem = keyof typeof fileSystems;

/** An open file or directory. */
export class OpenFile extends VmObject {
  readonly node: Node;
  readonly path: string;
  /** The offset of the next read or write; in a directory, in entries. */
  position = 0;

  constructor(node: Node, path: string) {
    super('file', 0);
    this.node = node;
    this.path = path;
  }

  /** Called when a file is closed that was open for writing, for watchers of its directory. */
  onClose: (() => void) | undefined;

  protected override destroy(): void {
    this.onClose?.();
  }
}

/** A tree of files in memory, with the parts of a Linux file system that Heddle's core uses. */
export class Files implements Pins {
  #inode = 1000n;
  readonly root: Directory = this.#directory('tmpfs');

  /** Returns the file or directory at an absolute path, if there is one. */
  find(path: string): Node | undefined {
    let node: Node = this.root;
    for (const name of names(path)) {
      const next: Node | undefined = node.kind === 'directory' ? node.entries.get(name) : undefined;
      if (!next) return undefined;
      node = next;
    }
    return node;
  }

  /** Makes a directory, whose parent must exist. Returns 0 or -errno. */
  makeDirectory(path: string): number {
    const location = this.#resolve(path);
    if (typeof location === 'number') return location;
    if (location.parent.entries.has(location.name)) return -errno.EEXIST;
    const above = location.parent.cgroup;
    const inode = this.#inode + 1n;
    const cgroup = above && new VmCgroup(inode, above);
    location.parent.entries.set(location.name, this.#directory(location.parent.type, cgroup));
    notify(location.parent, 'created', location.name);
    return 0;
  }

  /** Makes a directory and its missing parents. */
  makeDirectories(path: string): Directory {
    let made = '';
    for (const name of names(path)) {
      made += `/${name}`;
      this.makeDirectory(made);
    }
    return this.find(path) as Directory;
  }

  /** Adds an entry to an existing directory. */
  put(path: string, node: Exclude<Node, Directory>): void {
    const location = this.#resolve(path);
    if (typeof location === 'number') throw new SysError('openat', -location, `make ${path}`);
    location.parent.entries.set(location.name, node);
  }

  /** Writes a file. */
  write(path: string, bytes: Uint8Array): void {
    const node = this.openForWriting(path, true);
    if (node?.kind !== 'file') throw new SysError('openat', errno.ENOENT, `write ${path}`);
    node.bytes = bytes;
    this.noteWritten(path);
  }

  /** Reports that a file was closed after a write. */
  noteWritten(path: string): void {
    const location = this.#resolve(path);
    if (typeof location !== 'number') notify(location.parent, 'written', location.name);
  }

  /** Returns the file at a path, a new one if it is missing, or undefined without its directory. */
  openForWriting(path: string, truncate: boolean): Node | undefined {
    const location = this.#resolve(path);
    if (typeof location === 'number') return undefined;
    const known = location.parent.entries.get(location.name);
    if (known) {
      if (known.kind === 'file' && truncate) known.bytes = new Uint8Array(0);
      return known;
    }
    const made: Node = { kind: 'file', bytes: new Uint8Array(0), inode: this.nextInode() };
    location.parent.entries.set(location.name, made);
    notify(location.parent, 'created', location.name);
    return made;
  }

  remove(path: string, directory: boolean): number {
    const location = this.#resolve(path);
    if (typeof location === 'number') return location;
    const node = location.parent.entries.get(location.name);
    if (!node) return -errno.ENOENT;
    if (directory !== (node.kind === 'directory'))
      return directory ? -errno.ENOTDIR : -errno.EISDIR;
    if (node.kind === 'directory' && node.entries.size > 0) return -errno.ENOTEMPTY;
    location.parent.entries.delete(location.name);
    if (node.kind === 'pin') node.object.releaseForUser();
    notify(location.parent, 'deleted', location.name);
    return 0;
  }

  rename(from: string, to: string): number {
    const [source, target] = [this.#resolve(from), this.#resolve(to)];
    if (typeof source === 'number') return source;
    if (typeof target === 'number') return target;
    const node = source.parent.entries.get(source.name);
    if (!node) return -errno.ENOENT;
    source.parent.entries.delete(source.name);
    target.parent.entries.set(target.name, node);
    notify(source.parent, 'moved-from', source.name);
    notify(target.parent, 'moved-to', target.name);
    return 0;
  }

  /** Mounts another file system on an empty directory. */
  mount(path: string, type: FileSystem): number {
    const node = this.find(path);
    if (!node) return -errno.ENOENT;
    if (node.kind !== 'directory') return -errno.ENOTDIR;
    node.type = type;
    return 0;
  }

  pin(object: VmObject, path: string): void {
    const location = this.#resolve(path);
    if (typeof location === 'number') throw new SysError('bpf', -location, `pin ${path}`);
    if (location.parent.type !== 'bpf') throw new SysError('bpf', errno.EPERM, `pin ${path}`);
    if (location.parent.entries.has(location.name))
      throw new SysError('bpf', errno.EEXIST, `pin ${path}`);
    location.parent.entries.set(location.name, {
      kind: 'pin',
      object: object.retainForUser(),
      inode: this.nextInode(),
    });
  }

  get(path: string): VmObject {
    const node = this.find(path);
    if (node?.kind === 'pin') return node.object;
    throw new SysError('bpf', node ? errno.EPERM : errno.ENOENT, `open pin ${path}`);
  }

  /** Mounts the cgroup file system on a new directory and returns its root. */
  mountCgroups(path: string): VmCgroup {
    const location = this.#resolve(path);
    if (typeof location === 'number') throw new SysError('mount', -location, `mount ${path}`);
    const cgroup = new VmCgroup(1n);
    location.parent.entries.set(location.name, this.#directory('cgroup2', cgroup));
    return cgroup;
  }

  nextInode(): bigint {
    return ++this.#inode;
  }

  #directory(type: FileSystem, cgroup?: VmCgroup): Directory {
    const inode = this.nextInode();
    return {
      kind: 'directory',
      entries: new Map(),
      inode: cgroup?.id ?? inode,
      type,
      cgroup,
      watchers: new Set(),
    };
  }

  /** Returns the directory of a path and the last name in it, or -errno. */
  #resolve(path: string): { parent: Directory; name: string } | number {
    const all = names(path);
    const name = all.pop();
    if (name === undefined) return -errno.EEXIST;
    const parent = this.find(`/${all.join('/')}`);
    if (!parent) return -errno.ENOENT;
    return parent.kind === 'directory' ? { parent, name } : -errno.ENOTDIR;
  }
}

function notify(directory: Directory, change: FileChange, name: string): void {
  for (const watcher of directory.watchers) watcher(change, name);
}

function names(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}
