import { nodePlatform } from '@heddle/sys/node';
import { type Routes, type Surroundings, VmHost, type VmPlace } from '@heddle/vm';
import { type Datapath, openDatapath } from '../src/datapath.ts';
import type { DatapathOptions } from '../src/datapath-options.ts';
import { covered } from './coverage.ts';
import { testNat } from './nat.ts';
import { objects } from './objects.ts';
import { SocketWorld } from './socket-world.ts';
import { sizes } from './world.ts';

/** The same node in the userspace machine, without root rights and a kernel. */
export class VmWorld extends SocketWorld<VmPlace, VmPlace> {
  readonly host: VmHost;
  override datapath: Datapath;
  readonly #options: Partial<DatapathOptions>;
  readonly #pods: readonly VmPlace[];

  constructor(
    name: string,
    pods: number,
    {
      base = nodePlatform(() => {}),
      routes,
      ...options
    }: Partial<DatapathOptions> & { base?: Surroundings; routes?: Routes } = {},
  ) {
    const host = new VmHost({
      base,
      name,
      addresses: { v4: '172.30.0.1', v6: 'fd00:172:30::1' },
      ...(routes ? { routes } : {}),
    });
    super(host.platform);
    this.host = host;
    covered(host.bpf);
    this.#options = options;
    this.#pods = Array.from({ length: pods }, (_, i) =>
      host.addPod(`pod-${i + 1}`, { v4: `10.244.1.${i + 2}`, v6: `fd00:10:244:1::${i + 2}` }),
    );
    this.datapath = this.start();
  }

  override get node(): VmPlace {
    return this.host.node;
  }

  override pod(number: number): VmPlace {
    return this.#pods[number]!;
  }

  override [Symbol.dispose](): void {
    this.close();
    this.host[Symbol.dispose]();
  }

  protected override start(options: Partial<DatapathOptions> = {}): Datapath {
    const { host } = this;
    return openDatapath({
      platform: host.platform,
      bpf: host.bpf,
      objects,
      bpffs: '/sys/fs/bpf',
      cgroup: host.cgroupPath,
      sizes,
      netnsCookie: host.node.namespace.cookie,
      nat: testNat,
      options: { terminateTcp: false },
      ...this.#options,
      ...options,
    });
  }
}
