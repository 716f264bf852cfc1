import { attachTypes } from '@heddle/ebpf';
import { BPF_F_BEFORE, linkTypes } from '@heddle/ebpf/internal';
import { errno, SysError } from '@heddle/sys';
import { AF_INET } from '@heddle/sys/net';
import type { AttachPoint, LinkObject } from '../links.ts';
import type { Machine, Redirection, Routes } from '../machine.ts';
import { testRun } from '../test-run.ts';
import { fromBytes, toBytes } from './address.ts';
import type { VmNamespace } from './namespace.ts';
import type { VmNetwork } from './network.ts';

/** Indices of the node's network interfaces: the external one, and those of pods from the second on. */
export const externalIfindex = 2;
const FIRST_POD_DEVICE = 100;

const TC_ACT_UNSPEC = 0xffffffff;

/** A network interface of the node with tc programs (tcx links). */
export class VmDevice implements AttachPoint {
  readonly linkType = linkTypes.tcx;
  readonly index: number;
  readonly #links: LinkObject[] = [];

  constructor(index: number) {
    this.index = index;
  }

  attach(link: LinkObject, flags: number): void {
    if (flags & BPF_F_BEFORE) this.#links.unshift(link);
    else this.#links.push(link);
  }

  detach(link: LinkObject): void {
    this.#links.splice(this.#links.indexOf(link), 1);
  }

  describe(info: DataView, link: LinkObject): void {
    info.setUint32(16, link.isAttached ? this.index : 0, true);
    info.setUint32(20, link.attachType, true);
  }

  /** Runs a frame through the programs of one direction. */
  run(machine: Machine, direction: 'ingress' | 'egress', frame: Uint8Array): FrameResult {
    const type = direction === 'ingress' ? attachTypes.tcx_ingress : attachTypes.tcx_egress;
    // struct __sk_buff up to `ifindex`.
    const context = new Uint8Array(44);
    new DataView(context.buffer).setUint32(40, this.index, true);
    let data = frame;
    for (const link of this.#links) {
      if (link.attachType !== type) continue;
      const room = data.length + 4096;
      const result = testRun(machine, link.program.program, { data, context, dataRoom: room });
      data = result.data;
      if (result.returnValue !== TC_ACT_UNSPEC) {
        return { verdict: result.returnValue, frame: data, redirection: machine.redirection };
      }
    }
    return { verdict: TC_ACT_UNSPEC, frame: data, redirection: undefined };
  }
}

/** The frame after the programs. */
export interface FrameResult {
  /** TC_ACT_*; with 0xffffffff (unspec) it goes to the stack. */
  readonly verdict: number;
  readonly frame: Uint8Array;
  readonly redirection: Redirection | undefined;
}

/** The network interfaces of a node, and its routes: to each pod, and the default route. */
export class VmDevices {
  readonly #devices = new Map<number, VmDevice>([[externalIfindex, new VmDevice(externalIfindex)]]);
  readonly #pods = new Map<VmNamespace, number>();
  readonly #network: VmNetwork;
  readonly #node: () => VmNamespace;
  #next = FIRST_POD_DEVICE;

  constructor(network: VmNetwork, node: () => VmNamespace) {
    this.#network = network;
    this.#node = node;
  }

  addPod(namespace: VmNamespace): void {
    const index = this.#next++;
    this.#pods.set(namespace, index);
    this.#devices.set(index, new VmDevice(index));
  }

  removePod(namespace: VmNamespace): void {
    this.#devices.delete(this.#pods.get(namespace)!);
    this.#pods.delete(namespace);
  }

  /** Returns the interface with an index. Throws SysError (ENODEV). */
  get(index: number): VmDevice {
    const device = this.#devices.get(index);
    if (!device) throw new SysError('bpf', errno.ENODEV, `find device ${index}`);
    return device;
  }

  /** Returns the link-layer address of an interface: locally administered, with the index in it. */
  address(index: number): Uint8Array | undefined {
    return this.#devices.has(index) ? linkAddress(index) : undefined;
  }

  /** Implements bpf_fib_lookup: reads and completes struct bpf_fib_lookup (linux/bpf.h). */
  readonly routes: Routes = (route, flags) => {
    const isV4 = route[0] === AF_INET;
    const view = new DataView(route.buffer, route.byteOffset, route.byteLength);
    const node = this.#node();
    const destination = isV4
      ? node.v4.slice(0, 12) + fromBytes(route.subarray(32, 36))
      : fromBytes(route.subarray(32, 48));
    const target = this.#network.find(destination);
    if (target === node) return NOT_FORWARDED;
    if (view.getUint16(6, true) > MTU) {
      view.setUint16(6, MTU, true);
      return FRAGMENTATION_NEEDED;
    }
    const index = (target && this.#pods.get(target)) ?? externalIfindex;
    view.setUint32(8, index, true);
    view.setUint16(6, MTU, true);
    if (flags & LOOKUP_SOURCE) {
      route.set(isV4 ? toBytes(node.v4).subarray(12) : toBytes(node.v6), 16);
    }
    route.set(linkAddress(index), 52);
    // The neighbour at the interface.
    route.set([2, 0, 0, 1, index >> 8, index & 0xff], 58);
    return SUCCESS;
  };
}

function linkAddress(index: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, index >> 8, index & 0xff);
}

const LOOKUP_SOURCE = 1 << 4;
const MTU = 1500;
// enum of BPF_FIB_LKUP_RET_*
const SUCCESS = 0;
const NOT_FORWARDED = 4;
const FRAGMENTATION_NEEDED = 8;
