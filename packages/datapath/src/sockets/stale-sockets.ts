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
import { decodeStaleSocket, type StaleSocket, staleSocketSize } from '../generated/abi.ts';
import { protocolNumbers } from '../services/backend-table.ts';

/** Protocols whose sockets are destroyed when their backend is gone. */
export interface StalePolicy {
  readonly tcp: boolean;
}

/** The program that looks for stale sockets, and those that destroy them where the kernel lets them. */
const finder = 'stale_sockets';
const destroyers: Readonly<Record<number, string>> = {
  [protocolNumbers.TCP]: 'destroy_tcp',
  [protocolNumbers.UDP]: 'destroy_udp',
};

/** Milliseconds in which removals are gathered before sockets are looked at. */
const gatherMs = 20;

/**
 * Destroys sockets that are connected to a backend that is gone, in all network namespaces. A pass
 * first asks for such sockets, which costs one walk over the connections of services and mostly
 * ends the matter. The kernel's own programs destroy them; one that lacks bpf_sock_destroy is asked
 * through sock_diag. Where the kernel refuses the walk over connections, the programs that destroy sockets
 * look at all sockets of each network namespace.
 */
export class StaleSockets implements Disposable {
  private readonly bpf: Bpf;
  private readonly platform: Platform;
  private readonly spec: ObjectSpec;
  private readonly maps: Readonly<Record<string, BpfMap>>;
  private readonly policy: StalePolicy;
  private loaded: LoadedObject | undefined;
  private timer: Disposable | undefined;
  destroyed = 0;

  constructor(
    bpf: Bpf,
    platform: Platform,
    spec: ObjectSpec,
    maps: Readonly<Record<string, BpfMap>>,
    policy: StalePolicy,
  ) {
    this.bpf = bpf;
    this.platform = platform;
    this.spec = spec;
    this.maps = maps;
    this.policy = policy;
  }

  /** Backends of a protocol are gone: looks after their sockets soon. */
  expect(protocol: 'TCP' | 'UDP' | 'SCTP'): void {
    if (protocol === 'SCTP' || (protocol === 'TCP' && !this.policy.tcp) || this.timer) return;
    this.timer = this.platform.setTimer(gatherMs, () => {
      this.timer = undefined;
      try {
        this.destroyAll();
      } catch (error) {
        this.platform.log('error', 'sockets of removed backends could not be destroyed', {
          reason: (error as Error).message,
        });
      }
    });
  }

  /** Does it now. Returns how many sockets were destroyed. Throws SysError, VerifierError. */
  destroyAll(): number {
    const finds = features(this.bpf).has('iter/bpf_sk_storage_map');
    const destroys = features(this.bpf).has('kfunc/bpf_sock_destroy');
    if (!finds && !destroys) {
      throw new NotSupported('iter/bpf_sk_storage_map', featureSince('iter/bpf_sk_storage_map'));
    }
    this.loaded ??= loadShared(this.bpf, this.spec, this.maps, [
      ...(finds ? [finder] : []),
      ...(destroys ? Object.values(destroyers) : []),
    ]);
    const count = finds
      ? this.destroyFound(this.loaded, destroys)
      : this.destroyWalked(this.loaded);
    this.destroyed += count;
    if (count > 0) this.platform.log('info', 'destroyed sockets of removed backends', { count });
    return count;
  }

  /** Destroys the stale sockets that the finder reports. */
  private destroyFound(loaded: LoadedObject, destroys: boolean): number {
    const stale = this.find(loaded);
    let count = 0;
    if (stale.size === 0) return count;
    const namespaces = findNamespaces(this.platform, new Set(stale.keys()));
    for (const [inode, sockets] of stale) {
      using namespace = NetworkNamespace.openFirst(
        this.platform,
        namespaces.get(inode) ?? [],
        inode,
      );
      if (!namespace) {
        this.platform.log('warn', 'sockets of removed backends are in a namespace out of reach', {
          namespace: inode,
          count: sockets.length,
        });
        continue;
      }
      const protocols = new Set(sockets.map((socket) => socket.protocol));
      count += namespace.enter(() =>
        destroys ? this.destroyByProgram(loaded, protocols) : this.destroyByDiag(sockets),
      );
    }
    return count;
  }

  /** Lets the programs that destroy stale sockets look at all sockets, one network namespace after the other. */
  private destroyWalked(loaded: LoadedObject): number {
    const { UDP, TCP } = protocolNumbers;
    const protocols = new Set(this.policy.tcp ? [UDP, TCP] : [UDP]);
    let count = 0;
    for (const [inode, paths] of findNamespaces(this.platform)) {
      using namespace = NetworkNamespace.openFirst(this.platform, paths, inode);
      if (namespace) count += namespace.enter(() => this.destroyByProgram(loaded, protocols));
    }
    return count;
  }

  /** Stale sockets by the inode number of their namespace. */
  private find(loaded: LoadedObject): Map<number, StaleSocket[]> {
    using link = attachIterator(this.bpf, loaded.program(finder), { map: this.maps.connections! });
    const bytes = readIterator(this.bpf, link);
    const found = new Map<number, StaleSocket[]>();
    for (let at = 0; at + staleSocketSize <= bytes.length; at += staleSocketSize) {
      const socket = decodeStaleSocket(bytes, at);
      if (socket.protocol === protocolNumbers.TCP && !this.policy.tcp) continue;
      const others = found.get(socket.netns);
      if (others) others.push(socket);
      else found.set(socket.netns, [socket]);
    }
    return found;
  }

  /** Destroys what is stale in the namespace that the thread is in. */
  private destroyByProgram(loaded: LoadedObject, protocols: ReadonlySet<number>): number {
    let count = 0;
    for (const protocol of protocols) {
      using link = attachIterator(this.bpf, loaded.program(destroyers[protocol]!));
      count += readIterator(this.bpf, link).length;
    }
    return count;
  }

  /**
   * The same before Linux 6.5. The kernel filters by port: backends of a service mostly share one.
   * A UDP socket that was connected anew just now, to the same port, may be hit: it connects again.
   */
  private destroyByDiag(sockets: readonly StaleSocket[]): number {
    using diag = new NetlinkSocket(this.platform, NETLINK_SOCK_DIAG);
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
    this.timer?.[Symbol.dispose]();
    this.loaded?.[Symbol.dispose]();
  }
}

/**
 * Paths to open the wanted network namespaces, or all, which are given by inode number. Container runtimes
 * mount those of pods; so an agent in a container finds them without seeing the node's processes. On
 * the node itself they are found by the processes that are in them too.
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
