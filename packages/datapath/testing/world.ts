import { readFileSync } from 'node:fs';
import { BpfMap, type BpfProgram, LinuxBpf } from '@heddle/ebpf';
import {
  createLab,
  type Lab,
  type LabNode,
  type LabOptions,
  type LabPod,
  type Place,
} from '@heddle/lab';
import type { ServiceRow } from '@heddle/model';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { currentPins, type Datapath, type DatapathOptions, openDatapath } from '../src/datapath.ts';
import { defaultNat } from '../src/flow-options.ts';
import { TestSocket } from './sockets.ts';

/** Bytes of a committed object. */
export const objects = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../objects/${name}.o`, import.meta.url)));

export const sizes = { services: 1000, backends: 1000, slots: 20000, affinity: 1000, flows: 1000 };

/** A node with pods and a datapath of the test's own on it. */
export class World implements Disposable {
  readonly platform: Platform;
  readonly bpf: LinuxBpf;
  readonly lab: Lab;
  readonly node: LabNode;
  datapath: Datapath;
  private readonly options: Partial<DatapathOptions>;
  private readonly open: Disposable[] = [];

  constructor(
    name: string,
    pods: number,
    { lab, ...options }: Partial<DatapathOptions> & { lab?: Omit<LabOptions, 'name'> } = {},
  ) {
    this.platform = nodePlatform(() => {});
    this.bpf = new LinuxBpf(this.platform);
    this.lab = createLab(this.platform, {
      name: `${name}-${process.pid}`,
      podsPerNode: pods,
      ...lab,
    });
    this.node = this.lab.nodes[0]!;
    this.options = options;
    try {
      this.datapath = this.start();
    } catch (error) {
      this.lab.remove();
      throw error;
    }
  }

  pod(number: number): LabPod {
    return this.node.pods[number]!;
  }

  /** What a new agent would do: the one before is as if killed. */
  restart(options: Partial<DatapathOptions> = {}): Datapath {
    this.datapath[Symbol.dispose]();
    this.datapath = this.start(options);
    return this.datapath;
  }

  /** A program of node.bpf.c, for test runs. */
  program(name: string): BpfProgram {
    return this.datapath.node.program(name);
  }

  /** How many elements a pinned map has. */
  entriesOf(name: string): number {
    using map = BpfMap.openPinned(this.bpf, `${currentPins(this.node.bpffs).maps}/${name}`);
    return [...map.entries()].length;
  }

  /** Has the first node translate what enters from the underlay. */
  serveOutside(): void {
    const { addresses } = this.node;
    const { name, index } = this.node.link('eth0');
    this.node.enter(() => {
      this.datapath.setNode([{ name, index }], [addresses.v4, addresses.v6]);
    });
  }

  /** A socket in a pod or on the node; closed with the world. */
  socket(place: Place, family: 4 | 6, kind: 'tcp' | 'udp'): TestSocket {
    const socket = place.enter(() => new TestSocket(this.platform, family, kind));
    this.open.push(socket);
    return socket;
  }

  /** A TCP socket that listens in a pod, on all addresses of the family. */
  listener(place: Place, family: 4 | 6, port: number): TestSocket {
    const socket = this.socket(place, family, 'tcp');
    socket.reuseAddress();
    if (family === 6) socket.onlyIpv6();
    if (socket.bind(family === 4 ? '0.0.0.0' : '::', port) !== 'ok')
      throw new Error(`bind ${port}`);
    socket.listen();
    return socket;
  }

  /** A bound UDP socket in a pod. */
  receiver(place: Place, family: 4 | 6, port: number): TestSocket {
    const socket = this.socket(place, family, 'udp');
    if (family === 6) socket.onlyIpv6();
    if (socket.bind(family === 4 ? '0.0.0.0' : '::', port) !== 'ok')
      throw new Error(`bind ${port}`);
    return socket;
  }

  /** Brings rows into force; fails the test when one of them fails. */
  apply(...rows: readonly ServiceRow[]): void {
    for (const error of this.datapath.update(rows)) if (error) throw error;
  }

  [Symbol.dispose](): void {
    try {
      for (const socket of this.open) socket[Symbol.dispose]();
      this.datapath[Symbol.dispose]();
    } finally {
      this.lab.remove();
    }
  }

  private start(options: Partial<DatapathOptions> = {}): Datapath {
    return openDatapath({
      platform: this.platform,
      bpf: this.bpf,
      objects,
      bpffs: this.node.bpffs,
      cgroup: this.node.cgroup,
      sizes,
      netnsCookie: this.node.netnsCookie,
      nat: defaultNat,
      options: { terminateTcp: false },
      ...this.options,
      ...options,
    });
  }
}
