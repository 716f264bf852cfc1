import {
  attachIterator,
  type Bpf,
  type BpfMap,
  featureSince,
  features,
  type LoadedObject,
  type ObjectSpec,
  readIterator,
} from '@heddle/ebpf';
import {
  destroySocket,
  listSockets,
  NETLINK_SOCK_DIAG,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import {
  decodeUtf8,
  NotSupported,
  type Platform,
  readDirectory,
  readFile,
  readLink,
  SysError,
} from '@heddle/sys';
import { loadShared } from '../core/load-shared.ts';
import { protocolNumbers } from '../core/protocols.ts';
import { decodeStaleSocket, type StaleSocket, staleSocketSize } from '../generated/abi.ts';

/** The parts of a datapath that stale sockets are found with. */
export interface StaleSocketsParts {
  readonly bpf: Bpf;
  readonly platform: Platform;
  /** The object `stale`. */
  readonly spec: ObjectSpec;
  readonly maps: Readonly<Record<string, BpfMap>>;
  /** True if TCP sockets are destroyed too; UDP sockets always are. */
  readonly terminateTcp: boolean;
}

/** The program that finds stale sockets, and those that destroy them where the kernel supports it. */
const finder = 'stale_sockets';
const destroyers: Readonly<Record<number, string>> = {
  [protocolNumbers.TCP]: 'destroy_tcp',
  [protocolNumbers.UDP]: 'destroy_udp',
};

/** Milliseconds in which removals are gathered before sockets are searched. */
const gatherMs = 20;

/**
 * Destroys sockets that are connected to a removed backend, in all network namespaces. A pass first asks the kernel
 * for such sockets, which costs one walk over the connections of services and mostly finds none. BPF programs destroy
 * them, or sock_diag where the kernel lacks bpf_sock_destroy. Where the kernel refuses the walk over connections, the
 * programs that destroy sockets walk over all sockets of each network namespace.
 */
export class StaleSockets implements Disposable {
  readonly #parts: StaleSocketsParts;
  #loaded: LoadedObject | undefined;
  #timer: Disposable | undefined;
  /** The number of sockets that were destroyed. */
  destroyed = 0;

  constructor(parts: StaleSocketsParts) {
    this.#parts = parts;
  }

  /** Searches the sockets of a protocol whose backends were removed, after a moment. */
  expect(protocol: 'TCP' | 'UDP' | 'SCTP'): void {
    if (protocol === 'SCTP' || (protocol === 'TCP' && !this.#parts.terminateTcp) || this.#timer)
      return;
    this.#timer = this.#parts.platform.setTimer(gatherMs, () => {
      this.#timer = undefined;
      try {
        this.destroyAll();
      } catch (error) {
        this.#parts.platform.log('error', 'sockets of removed backends could not be destroyed', {
          reason: (error as Error).message,
        });
      }
    });
  }

  /** Destroys stale sockets now. Returns how many there were. Throws SysError, VerifierError, NotSupported. */
  destroyAll(): number {
    const finds = features(this.#parts.bpf).has('iter/bpf_sk_storage_map');
    const destroys = features(this.#parts.bpf).has('kfunc/bpf_sock_destroy');
    if (!finds && !destroys) {
      throw new NotSupported('iter/bpf_sk_storage_map', featureSince('iter/bpf_sk_storage_map'));
    }
    this.#loaded ??= loadShared(this.#parts.bpf, this.#parts.spec, this.#parts.maps, [
      ...(finds ? [finder] : []),
      ...(destroys ? Object.values(destroyers) : []),
    ]);
    const count = finds
      ? this.#destroyFound(this.#loaded, destroys)
      : this.#destroyWalked(this.#loaded);
    this.destroyed += count;
    if (count > 0)
      this.#parts.platform.log('info', 'destroyed sockets of removed backends', { count });
    return count;
  }

  /** Destroys the stale sockets that the finder reports. */
  #destroyFound(loaded: LoadedObject, destroys: boolean): number {
    const stale = this.#find(loaded);
    let count = 0;
    if (stale.size === 0) return count;
    const namespaces = findNamespaces(this.#parts.platform, new Set(stale.keys()));
    for (const [inode, sockets] of stale) {
      using namespace = NetworkNamespace.openFirst(
        this.#parts.platform,
        namespaces.get(inode) ?? [],
        inode,
      );
      if (!namespace) {
        this.#parts.platform.log(
          'warn',
          'sockets of removed backends are in a network namespace that cannot be opened',
          {
            namespace: inode,
            count: sockets.length,
          },
        );
        continue;
      }
      const protocols = new Set(sockets.map((socket) => socket.protocol));
      count += namespace.enter(() =>
        destroys ? this.#destroyByProgram(loaded, protocols) : this.#destroyByDiag(sockets),
      );
    }
    return count;
  }

  /** Lets the programs that destroy stale sockets look at all sockets, one network namespace after the other. */
  #destroyWalked(loaded: LoadedObject): number {
    const { UDP, TCP } = protocolNumbers;
    const protocols = new Set(this.#parts.terminateTcp ? [UDP, TCP] : [UDP]);
    let count = 0;
    for (const [inode, paths] of findNamespaces(this.#parts.platform)) {
      using namespace = NetworkNamespace.openFirst(this.#parts.platform, paths, inode);
      if (namespace) count += namespace.enter(() => this.#destroyByProgram(loaded, protocols));
    }
    return count;
  }

  /** Returns stale sockets by the inode number of their network namespace. */
  #find(loaded: LoadedObject): Map<number, StaleSocket[]> {
    using link = attachIterator(this.#parts.bpf, loaded.program(finder), {
      map: this.#parts.maps.connections!,
    });
    const bytes = readIterator(this.#parts.bpf, link);
    const found = new Map<number, StaleSocket[]>();
    for (let at = 0; at + staleSocketSize <= bytes.length; at += staleSocketSize) {
      const socket = decodeStaleSocket(bytes, at);
      if (socket.protocol === protocolNumbers.TCP && !this.#parts.terminateTcp) continue;
      const others = found.get(socket.netns);
      if (others) others.push(socket);
      else found.set(socket.netns, [socket]);
    }
    return found;
  }

  /** Destroys the stale sockets of the thread's network namespace. Returns their number. */
  #destroyByProgram(loaded: LoadedObject, protocols: ReadonlySet<number>): number {
    let count = 0;
    for (const protocol of protocols) {
      using link = attachIterator(this.#parts.bpf, loaded.program(destroyers[protocol]!));
      count += readIterator(this.#parts.bpf, link).length;
    }
    return count;
  }

  /**
   * Destroys these sockets through sock_diag, for kernels before Linux 6.5. The kernel filters by port: backends of a
   * service mostly share one. A UDP socket that was just connected anew to the same port may be destroyed too.
   */
  #destroyByDiag(sockets: readonly StaleSocket[]): number {
    using diag = new NetlinkSocket(this.#parts.platform, NETLINK_SOCK_DIAG);
    const cookies = new Set(sockets.map((socket) => socket.cookie));
    let count = 0;
    for (const protocol of ['tcp', 'udp'] as const) {
      const number = protocolNumbers[protocol === 'tcp' ? 'TCP' : 'UDP'];
      const own = sockets.filter((socket) => socket.protocol === number);
      for (const destinationPort of new Set(own.map((socket) => socket.port))) {
        for (const socket of listSockets(diag, { protocol, destinationPort })) {
          if (cookies.has(socket.cookie) && destroySocket(diag, socket)) count++;
        }
      }
    }
    return count;
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#loaded?.[Symbol.dispose]();
  }
}

/**
 * Returns paths by which network namespaces can be opened, by inode number: the `wanted` ones, or all. Container
 * runtimes mount those of pods, so an agent in a container finds them without access to the node's processes. On
 * the node itself they are also found by their processes.
 */
export function findNamespaces(
  platform: Platform,
  wanted?: ReadonlySet<number>,
): Map<number, string[]> {
  const found = new Map<number, string[]>();
  const add = (inode: number, path: string) => {
    if (Number.isNaN(inode) || (wanted && !wanted.has(inode))) return;
    const paths = found.get(inode);
    if (paths) paths.push(path);
    else found.set(inode, [path]);
  };
  // proc_pid_mountinfo(5); the backslash begins an octal escape, which no runtime's names have.
  const mounts = decodeUtf8(readFile(platform, '/proc/self/mountinfo'));
  for (const mount of mounts.matchAll(/^\S+ \S+ \S+ net:\[(\d+)\] ([^\s\\]+) /gm)) {
    add(Number(mount[1]), mount[2]!);
  }
  for (const { name } of readDirectory(platform, '/proc')) {
    if (found.size === wanted?.size) break;
    if (!/^\d+$/.test(name)) continue;
    const path = `/proc/${name}/ns/net`;
    try {
      add(Number(/^net:\[(\d+)\]$/.exec(readLink(platform, path))?.[1]), path);
    } catch (error) {
      // The process has ended meanwhile, is a zombie, or is not ours to look at (CAP_SYS_PTRACE).
      if (!(error instanceof SysError) || !['ENOENT', 'ESRCH', 'EACCES'].includes(error.code))
        throw error;
    }
  }
  return found;
}
