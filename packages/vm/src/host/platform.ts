import {
  type ByteStream,
  encodeUtf8,
  errno,
  type LogFields,
  type LogLevel,
  type Platform,
  type SyscallArgument,
  type SyscallName,
  syscallNumbers,
} from '@heddle/sys';
import type { Surroundings } from '../clock.ts';
import type { Descriptors } from '../descriptors.ts';
import { RingBufferMap } from '../maps/ring-buffer.ts';
import { MapObject } from '../objects.ts';
import { seededRandom } from '../random.ts';
import { Arguments, type Call, type CallHost } from './calls.ts';
import { fileSystems, type Node, OpenFile } from './files.ts';
import { Inotify } from './inotify.ts';
import { IteratorOutput } from './iterators.ts';
import { Epoll } from './local-socket.ts';
import { NetlinkObject } from './netlink-socket.ts';
import { socketCalls } from './socket-calls.ts';

const O_DIRECTORY = 0o200000;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const AT_REMOVEDIR = 0x200;
const DT_DIR = 4;
const DT_REG = 8;
const DT_SOCK = 12;

const modes: { readonly [kind in Node['kind']]?: number } = {
  directory: 0o040755,
  socket: 0o140600,
};

/** Writes the result of fstatat(2): the mode, and the inode number in the second word of struct stat. */
function writeStatus(node: Node, into: Uint8Array): void {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  view.setBigUint64(8, node.inode, true);
  view.setUint32(24, modes[node.kind] ?? 0o100644, true);
}

const fileCalls: { readonly [name in SyscallName]?: Call } = {
  getpid: () => 1,
  openat(host, descriptors, args) {
    const [path, flags] = [args.text(1), args.number(2)];
    let file = host.open(path);
    if (file && flags & O_CREAT && flags & O_EXCL) return -errno.EEXIST;
    if (file && flags & O_DIRECTORY && file.node.kind !== 'directory') return -errno.ENOTDIR;
    if (flags & (O_CREAT | O_TRUNC) && (!file || file.node.kind === 'file')) {
      const node = host.files.openForWriting(path, (flags & O_TRUNC) !== 0);
      file = node && new OpenFile(node, path);
      if (file) file.onClose = () => host.files.noteWritten(path);
    }
    return file ? descriptors.open(file) : -errno.ENOENT;
  },
  close: (_, descriptors, args) => (descriptors.close(args.number(0)) ? 0 : -errno.EBADF),
  read(_, descriptors, args) {
    const source = descriptors.get(args.number(0));
    const into = args.bytes(1);
    if (source instanceof Inotify) return source.read(into);
    if (source instanceof NetlinkObject) return source.receive(into, 0);
    const isFile = source instanceof OpenFile && source.node.kind === 'file';
    const bytes =
      isFile && source.node.kind === 'file'
        ? source.node.bytes
        : source instanceof IteratorOutput
          ? source.bytes
          : undefined;
    if (!bytes) return source ? -errno.EINVAL : -errno.EBADF;
    const readable = source as OpenFile | IteratorOutput;
    const part = bytes.subarray(
      readable.position,
      readable.position + Math.min(into.length, args.number(2)),
    );
    into.set(part);
    readable.position += part.length;
    return part.length;
  },
  write(_, descriptors, args) {
    const file = descriptors.get(args.number(0));
    if (!(file instanceof OpenFile) || file.node.kind !== 'file') return -errno.EBADF;
    const part = args.bytes(1).subarray(0, args.number(2));
    const bytes = new Uint8Array(Math.max(file.node.bytes.length, file.position + part.length));
    bytes.set(file.node.bytes);
    bytes.set(part, file.position);
    file.node.bytes = bytes;
    file.position += part.length;
    return part.length;
  },
  fstatat(host, descriptors, args) {
    const path = args.text(1);
    const open = path === '' ? descriptors.get(args.number(0)) : host.open(path);
    if (!open) return path === '' ? -errno.EBADF : -errno.ENOENT;
    if (open instanceof OpenFile) writeStatus(open.node, args.bytes(2));
    return 0;
  },
  statfs(host, _, args) {
    let path = args.text(0);
    const node = host.files.find(path);
    if (!node) return -errno.ENOENT;
    // A file is on the file system of its directory.
    let directory = node;
    while (directory.kind !== 'directory') {
      path = path.slice(0, path.lastIndexOf('/'));
      directory = host.files.find(path)!;
    }
    const into = args.bytes(1);
    new DataView(into.buffer, into.byteOffset).setUint32(0, fileSystems[directory.type], true);
    return 0;
  },
  mount(host, _, args) {
    return args.text(2) === 'bpf' ? host.files.mount(args.text(1), 'bpf') : -errno.ENODEV;
  },
  umount2: (host, _, args) => (host.files.find(args.text(0)) ? 0 : -errno.ENOENT),
  mkdirat: (host, _, args) => host.files.makeDirectory(args.text(1)),
  unlinkat: (host, _, args) =>
    host.files.remove(args.text(1), (args.number(2) & AT_REMOVEDIR) !== 0),
  renameat2: (host, _, args) => host.files.rename(args.text(1), args.text(3)),
  readlinkat(host, _, args) {
    const node = host.open(args.text(1))?.node;
    if (!node) return -errno.ENOENT;
    const target = node.kind === 'namespace' ? `net:[${node.inode}]` : undefined;
    if (target === undefined) return -errno.EINVAL;
    const bytes = encodeUtf8(target).subarray(0, args.number(3));
    args.bytes(2).set(bytes);
    return bytes.length;
  },
  getdents64(_, descriptors, args) {
    const directory = descriptors.get(args.number(0));
    if (!(directory instanceof OpenFile) || directory.node.kind !== 'directory')
      return -errno.ENOTDIR;
    return writeEntries(directory, directory.node.entries, args.bytes(1));
  },
  // A simulated host has one process.
  flock: () => 0,
  fchmod: () => 0,
  fchmodat: () => 0,
  epoll_create1: (_, descriptors) => descriptors.open(new Epoll()),
  epoll_ctl: () => 0,
  epoll_pwait: () => 0,
  inotify_init1: (_, descriptors) => descriptors.open(new Inotify()),
  inotify_add_watch(host, descriptors, args) {
    const inotify = descriptors.get(args.number(0));
    const node = host.files.find(args.text(1));
    if (!(inotify instanceof Inotify)) return -errno.EINVAL;
    if (!node) return -errno.ENOENT;
    return node.kind === 'directory' ? inotify.add(node, args.number(2)) : -errno.ENOTDIR;
  },
  inotify_rm_watch(_, descriptors, args) {
    const inotify = descriptors.get(args.number(0));
    return inotify instanceof Inotify ? inotify.remove(args.number(1)) : -errno.EINVAL;
  },
  setns(host, descriptors, args) {
    const file = descriptors.get(args.number(0));
    if (!(file instanceof OpenFile) || file.node.kind !== 'namespace') return -errno.EINVAL;
    host.context = { ...host.context, namespace: file.node.namespace };
    return 0;
  },
};

/** struct linux_dirent64 (getdents(2)): ino u64, off s64, reclen u16, type u8, name. */
function writeEntries(
  directory: OpenFile,
  entries: ReadonlyMap<string, Node>,
  into: Uint8Array,
): number {
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  let at = 0;
  for (const [name, node] of [...entries].slice(directory.position)) {
    const bytes = encodeUtf8(name);
    const length = Math.ceil((19 + bytes.length + 1) / 8) * 8;
    if (at + length > into.length) break;
    into.fill(0, at, at + length);
    view.setBigUint64(at, node.inode, true);
    view.setUint16(at + 16, length, true);
    into[at + 18] = node.kind === 'directory' ? DT_DIR : node.kind === 'socket' ? DT_SOCK : DT_REG;
    into.set(bytes, at + 19);
    at += length;
    directory.position++;
  }
  return at;
}

/** The number of arrays of `addressOf` that are kept. */
const ADDRESSES_KEPT = 64;

/**
 * The Platform of a simulated host: system calls on its files, descriptors and sockets. A call that is not
 * simulated fails with ENOSYS. The surroundings have the clock.
 */
export class VmPlatform implements Platform {
  readonly arch = 'x64';
  readonly pageSize = 4096;
  readonly #host: CallHost;
  readonly #base: Surroundings;
  readonly #descriptors: Descriptors;
  readonly #calls = new Map<number, Call>();
  readonly #addresses = new Map<bigint, Uint8Array>();
  readonly #random = seededRandom(7);
  #nextAddress = 0x1000_0000n;

  constructor(host: CallHost, base: Surroundings, descriptors: Descriptors) {
    this.#host = host;
    this.#base = base;
    this.#descriptors = descriptors;
    const numbers = syscallNumbers(this);
    for (const [name, call] of Object.entries({ ...fileCalls, ...socketCalls })) {
      this.#calls.set(numbers[name as SyscallName], call);
    }
  }

  get possibleCpus(): number {
    return this.#host.bpf.possibleCpus;
  }

  syscall(number: number, ...values: readonly SyscallArgument[]): number {
    const call = this.#calls.get(number);
    if (!call) return -errno.ENOSYS;
    return call(
      this.#host,
      this.#descriptors,
      new Arguments(values, (address) => this.#memoryAt(address)),
    );
  }

  addressOf(bytes: Uint8Array): bigint {
    if (bytes.length === 0) return 0n;
    const address = this.#nextAddress;
    this.#nextAddress += BigInt(bytes.length + 16);
    this.#addresses.set(address, bytes);
    if (this.#addresses.size > ADDRESSES_KEPT) {
      const [oldest] = this.#addresses.keys();
      this.#addresses.delete(oldest!);
    }
    return address;
  }

  view(address: number | bigint, length: number): Uint8Array {
    const bytes = this.#memoryAt(BigInt(address));
    if (!bytes) throw new RangeError(`view memory: nothing is at ${address}`);
    return bytes.subarray(0, length);
  }

  /** Watches ring buffers and watches of directories. Other descriptors never become readable. */
  onReadable(fd: number, ready: () => void): Disposable {
    const object = this.#descriptors.get(fd);
    const source = object instanceof MapObject ? object.map : object;
    const isReadable =
      source instanceof RingBufferMap
        ? () => source.hasRecords
        : source instanceof Inotify
          ? () => source.hasEvents
          : undefined;
    if (!isReadable) return { [Symbol.dispose]() {} };
    const { watchers } = source as RingBufferMap | Inotify;
    let timer: Disposable | undefined;
    let watching = true;
    const wake = () => {
      timer ??= this.setTimer(0, () => {
        timer = undefined;
        ready();
        if (watching && isReadable()) wake();
      });
    };
    watchers.add(wake);
    if (isReadable()) wake();
    return {
      [Symbol.dispose]() {
        watching = false;
        watchers.delete(wake);
        timer?.[Symbol.dispose]();
      },
    };
  }

  setTimer(milliseconds: number, fire: () => void): Disposable {
    return this.#base.setTimer(milliseconds, fire);
  }

  monotonicNs(): bigint {
    return this.#base.monotonicNs();
  }

  wallTimeMs(): number {
    return this.#base.wallTimeMs();
  }

  /** They are not strong: a simulation must be the same each time. */
  randomBytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#random());
  }

  connect(): ByteStream {
    throw new Error('open byte stream: a simulated host has no servers outside');
  }

  run(): Disposable {
    throw new Error('run command: a simulated host has no programs of its own');
  }

  log(level: LogLevel, message: string, fields?: LogFields): void {
    this.#base.log(level, message, fields);
  }

  #memoryAt(address: bigint): Uint8Array | undefined {
    for (const [start, bytes] of this.#addresses) {
      if (address >= start && address < start + BigInt(bytes.length)) {
        return bytes.subarray(Number(address - start));
      }
    }
    return undefined;
  }
}
