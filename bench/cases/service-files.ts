import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { pinRoot } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { parseIp } from '@heddle/sys';
import { stringify } from 'yaml';
import { backendAddresses, manifests, service, services } from '../catalog.ts';
import type { AgentProcess } from '../variants/agent-process.ts';
import type { World } from '../world.ts';

/** A pod that takes the place of the second one and gives it back. */
const otherAddress = '10.244.1.4';
const deadlineMs = 10_000;

/**
 * A folder with one manifest file per service that an agent watches, and the kernel's map in which
 * its work is seen: the entry of a service changes with each change of its endpoints.
 */
export class ServiceFiles implements Disposable {
  readonly agent: AgentProcess;
  readonly #folder: string;
  readonly #beside: string;
  readonly #map: BpfMap;
  readonly #keys = new Map<string, Uint8Array>();
  readonly #count: number;
  #changes = 0;

  private constructor(world: World, agent: AgentProcess, folder: string, count: number) {
    this.agent = agent;
    this.#folder = `${folder}/manifests`;
    this.#beside = folder;
    this.#count = count;
    const root = pinRoot(world.heddleLab.nodes[0]!.bpffs);
    const version = readdirSync(root).find((name) => /^v\d+$/.test(name));
    this.#map = BpfMap.openPinned(new LinuxBpf(world.platform), `${root}/${version}/maps/services`);
    for (const [key] of this.#map.entries()) this.#keys.set(addressOf(key), key.slice());
  }

  /** Writes the files and starts an agent in the place of the one that runs. */
  static async open(world: World, name: string, count: number): Promise<ServiceFiles> {
    const folder = world.folder(name);
    mkdirSync(`${folder}/manifests`);
    for (const each of services(count)) {
      writeFileSync(`${folder}/manifests/${each.name}.yaml`, yaml(manifests(each)));
    }
    const agent = await world.heddle.start(`${folder}/manifests`, count);
    await agent.inForce(count);
    return new ServiceFiles(world, agent, folder, count);
  }

  /**
   * Replaces one endpoint of the next service by renaming a new file into place, and looks at the
   * map until the change is in force. Returns the microseconds from the rename to then.
   */
  change(): number {
    const n = this.#changes % this.#count;
    const isOther = Math.floor(this.#changes / this.#count) % 2 === 0;
    this.#changes++;
    const { name, clusterIP } = service(n);
    const endpoints = isOther ? [backendAddresses[0], otherAddress] : backendAddresses;
    const beside = `${this.#beside}/next.yaml`;
    writeFileSync(beside, yaml(manifests({ name, clusterIP }, endpoints)));
    const key = this.#keys.get(`${parseIp(clusterIP)}`)!;
    const before = `${this.#map.lookup(key)}`;
    const start = performance.now();
    renameSync(beside, `${this.#folder}/${name}.yaml`);
    while (`${this.#map.lookup(key)}` === before) {
      if (performance.now() - start > deadlineMs) {
        throw new Error(`change ${name}: not in force after ${deadlineMs / 1000} s`);
      }
      // Between looks the processor is the agent's: spinning would take one of two from it.
      Atomics.wait(never, 0, 0, 0.1);
    }
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

/** Nobody wakes who waits here. */
const never = new Int32Array(new SharedArrayBuffer(4));

/** An address is the first thing in a service's key. */
function addressOf(key: Uint8Array): string {
  return `${key.subarray(0, 16)}`;
}

function yaml(objects: readonly unknown[]): string {
  return objects.map((object) => stringify(object)).join('---\n');
}
