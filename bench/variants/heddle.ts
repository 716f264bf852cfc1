import type { Lab } from '@heddle/lab';
import { backendAddresses } from '../catalog.ts';
import { type SiteName, sites } from '../sites.ts';
import { AgentProcess, sizeFlags, writeManifests } from './agent-process.ts';
import type { Balancer } from './balancer.ts';

/** ClusterIP, the node's address, and the unspecified one, which stands for loopback. */
const frontendsWithNodePort = 3;
/** Closed connections keep their entry for up to a minute, so the table has room for those of many rounds. */
const outsideFlags = { 'max-services': 262_144, 'max-flows': 262_144 };

/** Heddle's agent on the lab's node, with a folder of manifests for each size. */
export class Heddle implements Balancer {
  readonly name: 'heddle' | 'other';
  readonly #lab: Lab;
  readonly #folder: string;
  readonly #site: SiteName;
  readonly #flags: Readonly<Record<string, string>>;
  readonly #build: string | undefined;
  #agent: AgentProcess | undefined;
  #installed: number | undefined;

  /**
   * `folder` is for manifests, log and control socket; `flags` are further ones of the agent. `build` is the
   * built program of another commit.
   */
  constructor(
    lab: Lab,
    folder: string,
    site: SiteName,
    { flags = {}, build }: { flags?: Readonly<Record<string, string>>; build?: string } = {},
  ) {
    this.name = build === undefined ? 'heddle' : 'other';
    this.#build = build;
    this.#lab = lab;
    this.#folder = folder;
    this.#site = site;
    this.#flags = flags;
  }

  get lab(): string {
    return this.#lab.name;
  }

  async install(count: number): Promise<undefined> {
    if (this.#installed === count) return;
    const manifests = `${this.#folder}/manifests-${count}`;
    writeManifests(manifests, count, this.#site);
    const agent = await this.start(manifests, count);
    await agent.programmed(count, sites[this.#site].nodePorts ? frontendsWithNodePort : 1);
    this.#installed = count;
  }

  async stop(): Promise<void> {
    await this.#agent?.stop();
  }

  /** Starts an agent on another folder, in the place of the one that runs. */
  async start(manifests: string, count: number): Promise<AgentProcess> {
    this.#installed = undefined;
    await this.#agent?.stop();
    const flags = {
      manifests,
      ...sizeFlags(count, backendAddresses.length),
      ...(this.#site === 'north-south' ? outsideFlags : {}),
      ...this.#flags,
    };
    this.#agent = new AgentProcess(this.#lab.nodes[0]!, this.#folder, flags, this.#build);
    return this.#agent;
  }
}
