import { attachTypes, type LinkCreateOptions, programTypes } from '@heddle/ebpf';
import { linkTypes } from '@heddle/ebpf/internal';
import { encodeUtf8, errno, SysError } from '@heddle/sys';
import type { Surroundings } from '../clock.ts';
import { Descriptors } from '../descriptors.ts';
import type { AttachPoint, LinkObject } from '../links.ts';
import type { KernelFunctions } from '../loading.ts';
import type { Machine, Routes } from '../machine.ts';
import type { VmMap } from '../maps/map.ts';
import { StorageMap } from '../maps/storage-map.ts';
import { MapObject, type ProgramObject, type VmObject } from '../objects.ts';
import { SocketHandle } from '../socket.ts';
import { VmBpf } from '../vm-bpf.ts';
import { type Address, addressOf, isLoopback } from './address.ts';
import type { VmCgroup } from './cgroup.ts';
import { externalIfindex, type FrameResult, VmDevices } from './devices.ts';
import { Files, OpenFile } from './files.ts';
import { SocketHooks } from './hooks.ts';
import { runIterator } from './iterators.ts';
import { type IteratorTarget, iteratorTargets, simulatedKernelBtf } from './kernel-btf.ts';
import { VmNamespace } from './namespace.ts';
import { VmNetwork } from './network.ts';
import { addNetwork } from './network-memory.ts';
import { VmPlatform } from './platform.ts';
import type { SocketNamespace, VmContext, VmSocket } from './socket.ts';
import { StateChanges } from './state-changes.ts';

/** The node itself or a pod on it. */
export interface VmPlace extends VmContext {
  readonly name: string;
  readonly addresses: { readonly v4: string; readonly v6: string };
  /** Runs `work` here. The sockets that it makes belong to this place. */
  enter<Result>(work: () => Result): Result;
}

/** Options of a simulated host. */
export interface VmHostOptions {
  /** Clock, timers and log. */
  readonly base: Surroundings;
  readonly name: string;
  readonly addresses: { readonly v4: string; readonly v6: string };
  /** The network that hosts of a cluster share. If absent, the host has its own network. */
  readonly network?: VmNetwork;
  readonly seed?: number;
  /** Implements bpf_fib_lookup. The default is the routes of the simulated interfaces. */
  readonly routes?: Routes;
  /** Returns the link-layer address (6 bytes) of an interface. The default is those of the simulated ones. */
  readonly linkAddress?: (ifindex: number) => Uint8Array | undefined;
  readonly cpus?: number;
  /** Returns the map that programs use in place of a new one. The default is the new one. */
  readonly wrapMap?: (machine: Machine, map: VmMap) => VmMap;
}

/** The first inode number of namespaces (from PROC_NET_INIT_INO on). */
const FIRST_NAMESPACE = 4026531840n;

const CGROUPS = '/sys/fs/cgroup';
const OWN_NAMESPACE = '/proc/thread-self/ns/net';

/**
 * A simulated machine with its kernel: programs and maps, files, cgroups, network namespaces and
 * sockets. `bpf` and `platform` have the interfaces of a real machine, so that Heddle's own code runs on
 * it unchanged.
 */
export class VmHost implements Disposable {
  readonly bpf: VmBpf;
  readonly platform: VmPlatform;
  readonly files = new Files();
  readonly hooks: SocketHooks;
  readonly stateChanges: StateChanges;
  readonly network: VmNetwork;
  readonly node: VmPlace;
  readonly cgroup: VmCgroup;
  readonly devices: VmDevices;
  /** The open sockets by the object that programs refer to. */
  readonly sockets = new Map<object, VmSocket>();
  /** The context (cgroup, network namespace) of the calling thread. */
  context: VmContext;
  readonly #descriptors = new Descriptors();
  #namespaces = 0n;
  #processes = 1;
  #socketCookies = 0n;
  #timer: { readonly due: bigint; readonly handle: Disposable } | undefined;
  readonly #base: VmHostOptions['base'];

  constructor(options: VmHostOptions) {
    const { base } = options;
    this.#base = base;
    this.network = options.network ?? new VmNetwork();
    this.devices = new VmDevices(this.network, () => this.node.namespace);
    this.files.makeDirectories('/sys/fs/bpf');
    this.files.makeDirectories('/sys/kernel/btf');
    this.cgroup = this.files.mountCgroups(CGROUPS);
    this.files.makeDirectories('/proc/self');
    this.files.makeDirectories('/proc/thread-self/ns');
    const kernelFunctions: KernelFunctions = {
      bpf_sock_destroy: (machine) => this.#destroySocket(machine),
    };
    const kernelBtf = simulatedKernelBtf(Object.keys(kernelFunctions));
    this.#file('/sys/kernel/btf/vmlinux', kernelBtf.bytes);
    this.#file(
      '/proc/self/mountinfo',
      encodeUtf8(`1 0 0:1 / ${CGROUPS} rw - cgroup2 cgroup2 rw\n`),
    );
    this.#file('/proc/kallsyms', new Uint8Array(0));
    this.platform = new VmPlatform(this, base, this.#descriptors);
    this.bpf = new VmBpf({
      platform: this.platform,
      now: () => base.monotonicNs(),
      seed: options.seed,
      cpus: options.cpus,
      wrapMap: options.wrapMap,
      descriptors: this.#descriptors,
      kernelBtf,
      kernelFunctions,
      pins: this.files,
      attachPoint: (link, program) => this.#attachPoint(link, program),
      openIterator: (link) => this.#openIterator(link),
      tracepoint: (program) =>
        this.bpf.kernelTypeName(program.attachBtfId) === 'btf_trace_inet_sock_set_state'
          ? this.stateChanges
          : undefined,
      onTimer: (due) => this.#wakeAt(due),
      routes: options.routes ?? ((route, flags) => this.devices.routes(route, flags)),
      linkAddress: options.linkAddress ?? ((index) => this.devices.address(index)),
    });
    this.hooks = new SocketHooks(this.machine);
    this.stateChanges = new StateChanges(this.machine);
    this.node = this.#makePlace(options.name, options.addresses, CGROUPS);
    this.context = this.node;
  }

  get machine(): Machine {
    return this.bpf.machine;
  }

  /** The path of the root cgroup, which all processes of the host are in or below. */
  get cgroupPath(): string {
    return CGROUPS;
  }

  /** Starts a pod: a namespace with addresses and a cgroup. */
  addPod(name: string, addresses: { readonly v4: string; readonly v6: string }): VmPlace {
    const path = `${CGROUPS}/${name}`;
    this.files.makeDirectories(path);
    const pod = this.#makePlace(name, addresses, path);
    this.devices.addPod(pod.namespace);
    return pod;
  }

  /** Ends a pod: closes its sockets and removes its addresses. */
  removePod(pod: VmPlace): void {
    this.network.remove(pod.namespace);
    this.devices.removePod(pod.namespace);
    for (const socket of [...pod.namespace.sockets]) socket.abort();
    this.machine.memory.remove(pod.namespace.region);
  }

  /** Runs the programs of the node's external interface on a frame. */
  frame(direction: 'ingress' | 'egress', frame: Uint8Array): FrameResult {
    return this.devices.get(externalIfindex).run(this.machine, direction, frame);
  }

  /** Runs `work` in another context, and returns to the present one. */
  inContext<Result>(context: VmContext, work: () => Result): Result {
    const before = this.context;
    this.context = context;
    try {
      return work();
    } finally {
      this.context = before;
    }
  }

  /** Returns the namespace of an address, seen from another one, or undefined when there is no route. */
  namespaceOf(address: Address, from: SocketNamespace): SocketNamespace | undefined {
    return isLoopback(address) ? from : this.network.find(address);
  }

  nextSocketCookie(): bigint {
    return ++this.#socketCookies;
  }

  /** Removes the storage of a closed socket. */
  forgetStorage(socket: SocketHandle): void {
    for (const storage of this.#storages) storage.forget(socket);
  }

  get #storages(): StorageMap[] {
    return [...this.bpf.objects('map')].flatMap((object) =>
      object instanceof MapObject && object.map instanceof StorageMap ? [object.map] : [],
    );
  }

  #file(path: string, bytes: Uint8Array): void {
    this.files.put(path, { kind: 'file', bytes, inode: this.files.nextInode() });
  }

  #makePlace(
    name: string,
    texts: { readonly v4: string; readonly v6: string },
    path: string,
  ): VmPlace {
    const number = this.#namespaces++;
    const [v4, v6] = [addressOf(texts.v4), addressOf(texts.v6)];
    // The initial namespace has cookie 1.
    const inode = FIRST_NAMESPACE + number;
    const region = addNetwork(this.machine.memory, inode, [v4, v6]);
    const namespace: SocketNamespace = new VmNamespace(name, inode, number + 1n, v4, v6, region);
    const directory = this.files.find(path);
    if (directory?.kind !== 'directory' || !directory.cgroup)
      throw new Error(`make ${name}: no cgroup`);
    const { cgroup } = directory;
    this.network.add(namespace);
    // A process in the namespace, by which the namespace is found.
    const process = `/proc/${this.#processes++}/ns`;
    this.files.makeDirectories(process);
    this.files.put(`${process}/net`, { kind: 'namespace', namespace, inode: namespace.inode });
    const place = { namespace, cgroup };
    return { ...place, name, addresses: texts, enter: (work) => this.inContext(place, work) };
  }

  /** Runs the timers of programs by the clock of the surroundings. */
  #wakeAt(due: bigint): void {
    const base = this.#base;
    if (this.#timer && this.#timer.due <= due) return;
    this.#timer?.handle[Symbol.dispose]();
    const milliseconds = Math.max(0, Math.ceil(Number(due - base.monotonicNs()) / 1e6));
    const handle = base.setTimer(milliseconds, () => {
      this.#timer = undefined;
      this.machine.runTimers();
      const { next } = this.machine.timers;
      if (next !== undefined) this.#wakeAt(next);
    });
    this.#timer = { due, handle };
  }

  /** Stops the timers of programs. */
  [Symbol.dispose](): void {
    this.#timer?.handle[Symbol.dispose]();
    this.#timer = undefined;
  }

  /** Opens a path, which may depend on the calling thread. */
  open(path: string): OpenFile | undefined {
    if (path === OWN_NAMESPACE) {
      const { namespace } = this.context;
      return new OpenFile({ kind: 'namespace', namespace, inode: namespace.inode }, path);
    }
    const node = this.files.find(path);
    return node && new OpenFile(node, path);
  }

  #attachPoint(options: LinkCreateOptions, program: ProgramObject): AttachPoint {
    if (options.attachType === attachTypes.trace_iter) return this.#iterator(options, program);
    if (deviceTypes.has(options.attachType)) return this.devices.get(options.target);
    if (options.attachType === attachTypes.xdp)
      throw new SysError('bpf', errno.ENODEV, 'create link');
    if (!cgroupPrograms.has(program.program.type)) {
      throw new SysError('bpf', errno.EINVAL, 'create link');
    }
    const target = this.#descriptors.get(options.target);
    const cgroup =
      target instanceof OpenFile && target.node.kind === 'directory'
        ? target.node.cgroup
        : undefined;
    if (!cgroup) throw new SysError('bpf', errno.EBADF, 'create link');
    const { attachType } = program.program;
    if (attachType !== 0 && attachType !== options.attachType) {
      throw new SysError('bpf', errno.EINVAL, 'create link');
    }
    return cgroup;
  }

  #iterator(options: LinkCreateOptions, program: ProgramObject): IteratorPoint {
    const name = this.bpf.kernelTypeName(program.attachBtfId).replace('bpf_iter_', '');
    const target = iteratorTargets.find((known) => known === name);
    if (!target) throw new SysError('bpf', errno.EINVAL, `create link (no iterator ${name})`);
    if (target !== 'bpf_sk_storage_map') return new IteratorPoint(target, undefined);
    const info = options.iteratorInfo;
    const fd = info ? new DataView(info.buffer, info.byteOffset).getUint32(0, true) : -1;
    const object = this.#descriptors.want(fd, MapObject);
    if (!(object.map instanceof StorageMap)) throw new SysError('bpf', errno.EINVAL, 'create link');
    return new IteratorPoint(target, object);
  }

  #openIterator(link: LinkObject): VmObject {
    if (!(link.point instanceof IteratorPoint))
      throw new SysError('bpf', errno.EINVAL, 'create iterator');
    const { target, map } = link.point;
    const storage = map?.map instanceof StorageMap ? map.map : undefined;
    const namespaceOf = (socket: object) => this.sockets.get(socket)?.namespace;
    return runIterator(this.machine, link, target, storage, this.context.namespace, namespaceOf);
  }

  /** bpf_sock_destroy(sock) */
  #destroySocket(machine: Machine): void {
    const owner = machine.memory.owner(machine.registers[3]!);
    const handle = owner?.kind === 'kernel' ? owner.object : undefined;
    const socket = handle instanceof SocketHandle ? this.sockets.get(handle) : undefined;
    if (!socket) machine.refuse('r1 is no socket');
    socket.abort();
    machine.answer(0);
  }
}

const cgroupPrograms: ReadonlySet<number> = new Set([
  programTypes.cgroup_skb,
  programTypes.cgroup_sock,
  programTypes.cgroup_sock_addr,
  programTypes.sock_ops,
  programTypes.cgroup_sockopt,
]);

const deviceTypes: ReadonlySet<number> = new Set([attachTypes.tcx_ingress, attachTypes.tcx_egress]);

/** The target of an iterator's link. */
class IteratorPoint implements AttachPoint {
  readonly linkType = linkTypes.iter;
  readonly target: IteratorTarget;
  readonly map: MapObject | undefined;

  constructor(target: IteratorTarget, map: MapObject | undefined) {
    this.target = target;
    this.map = map;
  }

  attach(): void {
    this.map?.retain();
  }

  detach(): void {
    this.map?.release();
  }

  describe(info: DataView): void {
    info.setUint32(28, this.map?.id ?? 0, true);
  }
}
