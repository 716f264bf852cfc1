import {
  attachIterator,
  type Bpf,
  type BpfMap,
  type LoadedObject,
  loadObject,
  type ObjectSpec,
  readIterator,
} from '@heddle/ebpf';
import { NetworkNamespace } from '@heddle/netlink';
import { type Platform, readDirectory, readLink, SysError } from '@heddle/sys';
import { protocolNumbers } from './backend-table.ts';

/** Protocols whose sockets are destroyed when their backend is gone. */
export interface StalePolicy {
  readonly tcp: boolean;
}

/** Milliseconds in which removals are gathered before sockets are looked at. */
const gatherMs = 20;

/**
 * Destroys sockets that are connected to a backend that is gone, in all network namespaces. A pass
 * first asks which namespaces have such sockets, which costs one walk over the connections of
 * services and mostly ends the matter.
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
    this.loaded ??= loadObject(this.bpf, this.platform, this.spec, { maps: this.maps });
    const wanted = this.staleNamespaces(this.loaded);
    let count = 0;
    if (wanted.size === 0) return count;
    for (const [inode, path] of namespacesInUse(this.platform)) {
      const protocols = wanted.get(inode);
      if (!protocols) continue;
      using namespace = NetworkNamespace.open(this.platform, path);
      count += namespace.enter(() => this.destroyHere(this.loaded!, protocols));
    }
    this.destroyed += count;
    if (count > 0) this.platform.log('info', 'destroyed sockets of removed backends', { count });
    return count;
  }

  /** Namespaces by inode number, with the protocols that have stale sockets there. */
  private staleNamespaces(loaded: LoadedObject): Map<number, Set<number>> {
    using link = attachIterator(this.bpf, loaded.program('stale_namespaces'), {
      map: this.maps.connections!,
    });
    const words = new Uint32Array(readIterator(this.bpf, this.platform, link).slice().buffer);
    const found = new Map<number, Set<number>>();
    for (let i = 0; i + 1 < words.length; i += 2) {
      if (words[i] === protocolNumbers.TCP && !this.policy.tcp) continue;
      const protocols = found.get(words[i + 1]!) ?? new Set();
      found.set(words[i + 1]!, protocols.add(words[i]!));
    }
    return found;
  }

  private destroyHere(loaded: LoadedObject, protocols: ReadonlySet<number>): number {
    let count = 0;
    for (const protocol of protocols) {
      const name = protocol === protocolNumbers.TCP ? 'destroy_tcp' : 'destroy_udp';
      using link = attachIterator(this.bpf, loaded.program(name));
      count += readIterator(this.bpf, this.platform, link).length;
    }
    return count;
  }

  [Symbol.dispose](): void {
    this.timer?.[Symbol.dispose]();
    this.loaded?.[Symbol.dispose]();
  }
}

/** Network namespaces that processes are in, by inode number, with a path to open each. */
function namespacesInUse(platform: Platform): Map<number, string> {
  const found = new Map<number, string>();
  for (const { name } of readDirectory(platform, '/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const path = `/proc/${name}/ns/net`;
    try {
      const inode = Number(/^net:\[(\d+)\]$/.exec(readLink(platform, path))?.[1]);
      if (!found.has(inode)) found.set(inode, path);
    } catch (error) {
      // The process has ended meanwhile, or is a zombie.
      if (!(error instanceof SysError) || !['ENOENT', 'ESRCH', 'EACCES'].includes(error.code))
        throw error;
    }
  }
  return found;
}
