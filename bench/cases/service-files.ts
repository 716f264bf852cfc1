import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { backendAddresses, manifests, service, services } from '../catalog.ts';
import { ServicesMap } from '../services-map.ts';
import type { AgentProcess } from '../variants/agent-process.ts';
import type { World } from '../world.ts';

/** A pod that takes the place of the second one and gives it back. */
const otherAddress = '10.244.1.4';

/**
 * A folder with one manifest file per service that an agent watches, and the kernel's map in which
 * its work is seen: the entry of a service changes with each change of its endpoints.
 */
export class ServiceFiles implements Disposable {
  readonly agent: AgentProcess;
  readonly #folder: string;
  readonly #beside: string;
  readonly #map: ServicesMap;
  readonly #count: number;
  #changes = 0;

  private constructor(world: World, agent: AgentProcess, folder: string, count: number) {
    this.agent = agent;
    this.#folder = `${folder}/manifests`;
    this.#beside = folder;
    this.#count = count;
    this.#map = ServicesMap.open(world.platform, world.heddleLab.nodes[0]!.bpffs)!;
    this.#map.learn();
  }

  /** Writes the files and starts an agent in the place of the one that runs. */
  static async open(world: World, name: string, count: number): Promise<ServiceFiles> {
    const folder = world.folder(name);
    mkdirSync(`${folder}/manifests`);
    for (const each of services(count)) {
      writeFileSync(`${folder}/manifests/${each.name}.yaml`, yaml(manifests(each)));
    }
    const agent = await world.heddle.start(`${folder}/manifests`, count);
    await agent.programmed(count);
    return new ServiceFiles(world, agent, folder, count);
  }

  /**
   * Replaces one endpoint of the next service by renaming a new file into place, and looks at the
   * map until the change is programmed. Returns the microseconds from the rename to then.
   */
  change(): number {
    const n = this.#changes % this.#count;
    const isOther = Math.floor(this.#changes / this.#count) % 2 === 0;
    this.#changes++;
    const { name, clusterIP } = service(n);
    const endpoints = isOther ? [backendAddresses[0], otherAddress] : backendAddresses;
    const beside = `${this.#beside}/next.yaml`;
    writeFileSync(beside, yaml(manifests({ name, clusterIP }, endpoints)));
    const before = this.#map.entry(clusterIP);
    const start = performance.now();
    renameSync(beside, `${this.#folder}/${name}.yaml`);
    this.#map.waitForChange(clusterIP, before);
    return (performance.now() - start) * 1000;
  }

  /** Lets the agent finish what it does after a change, and this process see signals. */
  async pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds);
  }

  [Symbol.dispose](): void {
    this.#map[Symbol.dispose]();
  }
}

function yaml(objects: readonly unknown[]): string {
  return objects.map((object) => stringify(object)).join('---\n');
}
