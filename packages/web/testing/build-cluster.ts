import type { PolicyRef, WorkloadKind } from '@heddle/web/contract';
import type { InventedCluster, InventedLink, InventedPod, InventedWorkload } from './cluster.ts';
import { seededRandom } from './random.ts';

/** Collects the workloads and links of an invented cluster. */
export class ClusterBuilder {
  readonly random: () => number;
  readonly workloads: InventedWorkload[] = [];
  readonly #name: string;
  readonly #nodes: readonly string[];
  readonly #links: InventedLink[] = [];
  readonly #byName = new Map<string, InventedWorkload>();
  #pods = 0;

  constructor(name: string, nodes: readonly string[], seed: number) {
    this.#name = name;
    this.#nodes = nodes;
    this.random = seededRandom(seed);
  }

  /** Adds a workload with so many pods. */
  add(namespace: string, name: string, kind: WorkloadKind, podCount: number): InventedWorkload {
    const pods = Array.from({ length: podCount }, (_, index) => this.#pod(name, kind, index));
    const labels = namespace === '' ? [] : [`app=${name}`, `team=${namespace}`];
    const workload = { namespace, name, kind, pods, addresses: [], labels };
    return this.#keep(workload);
  }

  /** Adds something outside the cluster, with its addresses. */
  addOutside(name: string, ...addresses: string[]): InventedWorkload {
    const kind = 'Outside' as const;
    return this.#keep({ namespace: '', name, kind, pods: [], addresses, labels: [] });
  }

  /** Adds a link between workloads that are there; names without a slash must be unique. */
  link(
    from: string,
    to: string,
    port: number,
    forwarded: number,
    more: Partial<InventedLink> = {},
  ): void {
    const server = this.find(to);
    const isGuarded = ['payments', 'data', 'shop'].includes(server.namespace);
    const bytesOut = 200 + Math.round(this.random() * 900);
    this.#links.push({
      ...{ from: this.find(from), to: server, protocol: port === 53 ? 17 : 6, port },
      ...{ forwarded, dropped: 0, refused: 0 },
      ...{ bytesOut, bytesIn: bytesOut * (1 + Math.round(this.random() * 40)) },
      ...(isGuarded ? { allowedBy: policyOf(server) } : {}),
      ...{ first: 3 * 24 * 60, last: 0 },
      ...more,
    });
  }

  find(name: string): InventedWorkload {
    const found = this.#byName.get(name);
    if (!found) throw new Error(`add a link: there is no workload ${name}`);
    return found;
  }

  result(): InventedCluster {
    const { workloads } = this;
    return { name: this.#name, nodes: this.#nodes, workloads, links: this.#links };
  }

  #keep(workload: InventedWorkload): InventedWorkload {
    this.workloads.push(workload);
    this.#byName.set(workload.name, workload);
    this.#byName.set(`${workload.namespace}/${workload.name}`, workload);
    return workload;
  }

  #pod(name: string, kind: WorkloadKind, index: number): InventedPod {
    const number = this.#pods++;
    const node = number % this.#nodes.length;
    const letters = 'bcdfghjkmnpqrstvwxz2456789';
    const suffix = Array.from({ length: 5 }, () => letters[Math.floor(this.random() * 26)]).join(
      '',
    );
    return {
      name: `${name}-${kind === 'StatefulSet' ? index : suffix}`,
      address: `10.1.${node}.${1 + (Math.floor(number / this.#nodes.length) % 250)}`,
      node: this.#nodes[node]!,
    };
  }
}

/** Returns the policy that selects a workload. */
export function policyOf({ namespace, name }: InventedWorkload): PolicyRef {
  return { kind: 'NetworkPolicy', namespace, name: `${name}-ingress` };
}
