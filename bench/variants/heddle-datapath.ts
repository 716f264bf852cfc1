import { readFileSync } from 'node:fs';
import { type Datapath, defaultNat, openDatapath } from '@heddle/datapath';
import { LinuxBpf } from '@heddle/ebpf';
import type { Lab } from '@heddle/lab';
import { readObject, ServiceModel } from '@heddle/model';
import type { Platform } from '@heddle/sys';
import { manifests, services } from '../catalog.ts';
import type { SiteName } from '../sites.ts';
import type { Balancer } from './balancer.ts';

const objects = (name: string) =>
  new Uint8Array(
    readFileSync(new URL(`../../packages/datapath/objects/${name}.o`, import.meta.url)),
  );

/** Heddle's datapath on the devices of the lab's first node, put into force without an agent. */
export class HeddleDatapath implements Balancer, Disposable {
  readonly name = 'heddle';
  readonly #platform: Platform;
  readonly #lab: Lab;
  readonly #site: SiteName;
  #datapath: Datapath | undefined;
  #installed: number | undefined;

  constructor(platform: Platform, lab: Lab, site: SiteName) {
    this.#platform = platform;
    this.#lab = lab;
    this.#site = site;
  }

  get lab(): string {
    return this.#lab.name;
  }

  async install(count: number): Promise<undefined> {
    if (this.#installed === count) return;
    this[Symbol.dispose]();
    const node = this.#lab.nodes[0]!;
    const { v4, v6 } = node.addresses;
    const model = new ServiceModel({ nodeName: node.name, ownAddresses: [v4, v6] });
    const records = services(count, this.#site).flatMap((service) =>
      manifests(service, service.endpoints).map((object) => {
        const read = readObject(object);
        if (!('record' in read)) throw new Error(`read object: ${JSON.stringify(read)}`);
        return { op: 'set' as const, object: read.record };
      }),
    );
    model.apply(records);
    const rows = [...model.rows()];
    const datapath = openDatapath({
      platform: this.#platform,
      bpf: new LinuxBpf(this.#platform),
      objects,
      bpffs: node.bpffs,
      cgroup: node.cgroup,
      sizes: {
        services: 4 * count + 1000,
        backends: 2 * count + 1000,
        slots: 4 * count + 1000,
        affinity: 1000,
        flows: 100_000,
      },
      netnsCookie: node.netnsCookie,
      nat: defaultNat,
      options: { terminateTcp: false },
    });
    this.#datapath = datapath;
    const { name, index } = node.link('eth0');
    node.enter(() => datapath.setNode([{ name, index }], [v4, v6]));
    for (const error of datapath.update(rows)) if (error) throw error;
    datapath.prune(rows);
    this.#installed = count;
  }

  /** Everything stays in force until the lab goes. */
  [Symbol.dispose](): void {
    this.#datapath?.[Symbol.dispose]();
    this.#datapath = undefined;
    this.#installed = undefined;
  }
}
