import {
  BpfMap,
  LinuxBpf,
  type LoadedObject,
  type TestRunOptions,
  type TestRunResult,
} from '@heddle/ebpf';
import { createLab, type Lab, type LabNode, type LabOptions, type LabPod } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { currentPins } from '../src/core/pinned-maps.ts';
import { type Datapath, openDatapath } from '../src/datapath.ts';
import type { DatapathOptions } from '../src/datapath-options.ts';
import { flowSlots } from './flows/flow-slots.ts';
import { Mirror } from './mirror.ts';
import { testNat } from './nat.ts';
import { objects } from './objects.ts';
import { SocketWorld } from './socket-world.ts';

export { objects };

export const sizes = { services: 1000, backends: 1000, slots: 20000, affinity: 1000, flows: 1000 };

/** An object whose programs are test-run with packets. */
type ObjectName = 'node' | 'xdp' | 'pod';

/** A node with pods in network namespaces, and a datapath on it. */
export class World extends SocketWorld<LabPod, LabNode> {
  readonly bpf: LinuxBpf;
  readonly lab: Lab;
  override readonly node: LabNode;
  override datapath: Datapath;
  readonly #options: Partial<DatapathOptions>;
  readonly #mirrored: boolean;
  readonly #mirrors = new Map<ObjectName, Mirror>();

  constructor(
    name: string,
    pods: number,
    {
      lab,
      mirrored = false,
      ...options
    }: Partial<DatapathOptions> & { lab?: Omit<LabOptions, 'name'>; mirrored?: boolean } = {},
  ) {
    super(nodePlatform(() => {}));
    this.bpf = new LinuxBpf(this.platform);
    this.lab = createLab(this.platform, {
      name: `${name}-${process.pid}`,
      podsPerNode: pods,
      ...lab,
    });
    this.node = this.lab.nodes[0]!;
    this.#options = options;
    this.#mirrored = mirrored;
    try {
      this.datapath = this.start();
    } catch (error) {
      this.lab.remove();
      throw error;
    }
  }

  override pod(number: number): LabPod {
    return this.node.pods[number]!;
  }

  /** Returns the node's programs in the userspace machine, too. */
  mirrorOf(loaded: LoadedObject, object: ObjectName = 'node'): Mirror {
    const names = ['eth0', ...this.node.pods.map(({ nodeLink }) => nodeLink)];
    const links = names.map((name) => this.node.link(name));
    const addresses = new Map(links.map(({ index, address }) => [index, address]));
    return new Mirror(this.platform, this.bpf, loaded, object, addresses);
  }

  /** Test-runs a program at an interface; in a mirrored world in the userspace machine, too. */
  testRun(name: string, options: TestRunOptions): TestRunResult {
    const { programs } = this.datapath;
    const object = objectOf(name);
    const loaded = programs[object]!;
    if (!this.#mirrored) return loaded.program(name).testRun(options);
    const mirror = this.#mirrors.get(object) ?? this.mirrorOf(loaded, object);
    this.#mirrors.set(object, mirror);
    return mirror.testRun(name, options);
  }

  override restart(options: Partial<DatapathOptions> = {}): Datapath {
    // They run the programs of the datapath that is closed.
    this.#closeMirrors();
    return super.restart(options);
  }

  /** Returns the number of elements of a pinned map. */
  entriesOf(name: string): number {
    using map = BpfMap.openPinned(this.bpf, `${currentPins(this.node.bpffs).maps}/${name}`);
    return [...map.entries()].length;
  }

  /** The number of tuples in the index of flows. */
  get flowKeys(): number {
    using map = BpfMap.openPinned(this.bpf, `${currentPins(this.node.bpffs).maps}/nat_index`);
    return [...flowSlots(map)].length;
  }

  /** Has the first node translate what enters from the underlay. */
  serveOutside(): void {
    const { addresses } = this.node;
    this.node.enter(() => {
      this.datapath.setNode([this.node.link('eth0')], [addresses.v4, addresses.v6]);
    });
  }

  override [Symbol.dispose](): void {
    try {
      this.#closeMirrors();
      this.close();
    } finally {
      this.lab.remove();
    }
  }

  #closeMirrors(): void {
    for (const mirror of this.#mirrors.values()) mirror[Symbol.dispose]();
    this.#mirrors.clear();
  }

  protected override start(options: Partial<DatapathOptions> = {}): Datapath {
    return openDatapath({
      platform: this.platform,
      bpf: this.bpf,
      objects,
      bpffs: this.node.bpffs,
      cgroup: this.node.cgroup,
      sizes,
      netnsCookie: this.node.netnsCookie,
      nat: testNat,
      options: { terminateTcp: false },
      ...this.#options,
      ...options,
    });
  }
}

function objectOf(program: string): ObjectName {
  if (program === 'node_xdp') return 'xdp';
  return program.endsWith('_pod') ? 'pod' : 'node';
}
