import { mkdirSync, writeFileSync } from 'node:fs';
import { cniPlugin } from '@heddle/assets';
import { CniPlugin, type Lab, type LabHost, type LabNode } from '@heddle/lab';
import { policyObjects, scaleOf } from '../policy/objects.ts';
import { measuredPods, type SiteName, sites } from '../sites.ts';
import { AgentProcess, sizeFlags, writeManifests } from './agent-process.ts';
import type { Balancer } from './balancer.ts';

/** The kinds of Heddle as the network: alone, with policies, and with the setting `visibility`. */
export type NetworkName = 'heddle' | 'heddle policies' | 'heddle visibility';

/** Heddle as the network of a lab whose pods it connects: an agent on each node. */
export class HeddleNetwork implements Balancer {
  readonly name: NetworkName;
  readonly #lab: Lab;
  readonly #folder: string;
  readonly #site: SiteName;
  readonly #plugin: CniPlugin;
  #agents: AgentProcess[] = [];
  #installed: number | undefined;

  /** `folder` is for manifests, configurations, logs and sockets. */
  constructor(lab: Lab, folder: string, site: SiteName, name: NetworkName = 'heddle') {
    this.name = name;
    this.#lab = lab;
    this.#folder = folder;
    this.#site = site;
    const path = `${folder}/heddle-cni`;
    writeFileSync(path, cniPlugin(lab.nodes[0]!.platform.arch), { mode: 0o755 });
    this.#plugin = new CniPlugin({ path, socketOf: ({ node }) => this.#cniSocket(node) });
  }

  get lab(): string {
    return this.#lab.name;
  }

  async install(count: number): Promise<undefined> {
    if (this.#installed === count) return;
    await Promise.all(this.#agents.map((agent) => agent.stop()));
    const manifests = `${this.#folder}/manifests-${count}`;
    const services = this.#site === 'pods-policies' ? servicesBesidePolicies : count;
    writeManifests(manifests, services, this.#site);
    writeFileSync(`${manifests}/nodes.json`, list(nodeObjects(this.#lab.nodes)));
    if (this.name === 'heddle policies') {
      const objects = policyObjects(scaleOf(count), measuredPods(true));
      for (let at = 0; at < objects.length; at += perFile) {
        writeFileSync(`${manifests}/policies-${at}.json`, list(objects.slice(at, at + perFile)));
      }
    }
    this.#agents = this.#lab.nodes.map((node) => {
      const folder = `${this.#folder}/${node.name}`;
      mkdirSync(folder, { recursive: true });
      const config = `${folder}/config.json`;
      const socket = this.#cniSocket(node);
      const cni = { binDir: `${folder}/bin`, configDir: `${folder}/net.d`, socket };
      const visibility = this.name === 'heddle visibility';
      writeFileSync(config, JSON.stringify({ network: true, visibility, cni }));
      return new AgentProcess(node, folder, { ...sizeFlags(services, 2), manifests, config });
    });
    // A row for each service, for each other node, and for each policy that concerns the node.
    const others = this.#lab.nodes.length - 1;
    for (const agent of this.#agents) {
      if (this.name === 'heddle policies') await agent.allProgrammed(services);
      else await agent.programmed(services + others, 1, others);
    }
    if (this.#lab.pods.length === 0) await this.#connect();
    this.#installed = count;
  }

  /** Connects the pods of the site; the first two addresses of a node are those of its backends. */
  async #connect(): Promise<void> {
    const { backendPods, client } = sites[this.#site];
    for (const name of [...backendPods, client]) {
      const number = /^pod-(\d+)-/.exec(name)?.[1];
      if (number === undefined) continue;
      const node = this.#lab.nodes[Number(number) - 1]!;
      prepareClient(await this.#lab.addPodBy(this.#plugin, node, name));
    }
  }

  #cniSocket(node: LabNode): string {
    return `${this.#folder}/${node.name}/cni.sock`;
  }
}

/** The number of objects in a file, which an agent reads up to 16 MiB. */
const perFile = 5_000;

/** The number of services in a cluster whose policies are measured. */
const servicesBesidePolicies = 10;

function nodeObjects(nodes: readonly LabNode[]): object[] {
  return nodes.map(({ name, number, addresses }) => ({
    ...{ apiVersion: 'v1', kind: 'Node', metadata: { name } },
    spec: { podCIDRs: [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`] },
    status: {
      addresses: [addresses.v4, addresses.v6].map((address) => ({ type: 'InternalIP', address })),
    },
  }));
}

function list(items: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

/** Prepares a host that makes many connections. */
export function prepareClient(place: LabHost): void {
  // Tens of thousands of finished connections would otherwise wait in each pod, where they slow
  // down the choice of a port, and lead to rejections behind a masquerade.
  place.setSysctl('net/ipv4/tcp_max_tw_buckets', 0);
  place.setSysctl('net/ipv4/ip_local_port_range', '10240 65000');
}
