import type { Lab } from '@heddle/lab';
import { backendAddresses } from '../catalog.ts';
import { AgentProcess, sizeFlags, writeManifests } from './agent-process.ts';
import type { Balancer } from './balancer.ts';

/** Heddle's agent on the lab's node, with a folder of manifests for each size. */
export class Heddle implements Balancer {
  readonly name = 'heddle';
  readonly #lab: Lab;
  readonly #folder: string;
  #agent: AgentProcess | undefined;
  #installed: number | undefined;

  /** `folder` is for manifests, log and control socket. */
  constructor(lab: Lab, folder: string) {
    this.#lab = lab;
    this.#folder = folder;
  }

  get lab(): string {
    return this.#lab.name;
  }

  async install(count: number): Promise<undefined> {
    if (this.#installed === count) return;
    const manifests = `${this.#folder}/manifests-${count}`;
    writeManifests(manifests, count);
    const agent = await this.start(manifests, count);
    await agent.inForce(count);
    this.#installed = count;
  }

  /** Starts an agent on another folder, in the place of the one that runs. */
  async start(manifests: string, count: number): Promise<AgentProcess> {
    this.#installed = undefined;
    await this.#agent?.stop();
    this.#agent = new AgentProcess(this.#lab.nodes[0]!, this.#folder, {
      manifests,
      ...sizeFlags(count, backendAddresses.length),
    });
    return this.#agent;
  }
}
