import { exitCodes, Failure } from '@heddle/control/failure';
import type {
  EndpointRecord,
  Family,
  NodeRecord,
  ObjectChange,
  ServiceInput,
  ServiceRecord,
  SliceRecord,
} from '@heddle/objects';
import type { Random } from '@heddle/vm/internal';
import type { GeneratedServices, Scenario } from './scenario.ts';

/** The namespace of services that a scenario generates. */
const generatedNamespace = 'simulated';

export interface ClusterNode {
  readonly name: string;
  readonly zone: string;
  /** Addresses in text; the first of a family is the node's InternalIP. */
  readonly addresses: readonly string[];
}

/** A pod of a service: the endpoints with one target name, or one endpoint without a name. */
export interface ServicePod {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** The number of pod addresses in the range below. */
const v4Pods = 1 << 23;

/** Generates addresses. Services and pods of manifests keep theirs. */
const generated = {
  node4: (i: number) => `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
  node6: (i: number) => `fd00:172:16::${i.toString(16)}`,
  pod4: (i: number) => `10.${128 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
  pod6: (i: number) => `fd00:10::${(i >> 16).toString(16)}:${(i & 0xffff).toString(16)}`,
  clusterIP: (i: number) => `10.${96 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
  loadBalancer: (i: number) => `100.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
};
const familyOf = (address: string): Family => (address.includes(':') ? 'IPv6' : 'IPv4');
const [firstNodePort, lastNodePort] = [30_000, 32_767];

/** The objects of a cluster and the placement of its pods, as a scenario changes them. Pure. */
export class SimulatedCluster {
  readonly nodes: readonly ClusterNode[];
  readonly services = new Map<string, ServiceRecord>();
  /** The node of each pod address. */
  readonly placement = new Map<string, string>();
  /**
   * Nodes whose rows differ from all others', because of a traffic policy, a hint or an address.
   */
  readonly special = new Set<string>();
  /** True when rows depend on the zone. */
  zonesMatter = false;
  readonly #random: Random;
  readonly #slices = new Map<string, SliceRecord>();
  readonly #slicesOf = new Map<string, Set<string>>();
  /** The keys of slices with endpoints on a node. */
  readonly #slicesOn = new Map<string, Set<string>>();
  /** Endpoints that were removed with their node, by node, with their slice. */
  readonly #lost = new Map<string, { slice: string; endpoint: EndpointRecord }[]>();
  readonly #names: ReadonlySet<string>;
  readonly #addresses = new Set<string>();
  #pods = 0;
  /** The changes since the last takeChanges. */
  #changes = new Map<string, SliceRecord>();

  /** Throws Failure if the objects contradict each other or the scenario. */
  constructor(records: readonly ServiceInput[], scenario: Scenario, random: Random) {
    this.#random = random;
    for (const record of records) {
      if (record.kind === 'node')
        for (const address of record.addresses) this.#addresses.add(address);
      if (record.kind === 'slice')
        for (const { address } of record.endpoints) this.#addresses.add(address);
    }
    const nodes = records.filter((record): record is NodeRecord => record.kind === 'node');
    this.nodes = this.#makeNodes(nodes, scenario.nodes);
    this.#names = new Set(this.nodes.map(({ name }) => name));
    for (const record of records) {
      if (record.kind === 'service')
        this.services.set(`${record.namespace}/${record.name}`, record);
    }
    for (const record of records) if (record.kind === 'slice') this.#set(this.#placed(record));
    if (scenario.services) this.#makeServices(scenario.services);
    const own = new Map(
      this.nodes.flatMap(({ name, addresses }) => addresses.map((a) => [a, name])),
    );
    for (const { externalIPs } of this.services.values()) {
      for (const address of externalIPs) if (own.has(address)) this.special.add(own.get(address)!);
    }
  }

  /** Returns all objects at the start. */
  start(): ObjectChange<ServiceInput>[] {
    const objects: ServiceInput[] = [...this.services.values(), ...this.#slices.values()];
    this.#changes.clear();
    return objects.map((object) => ({ op: 'set', object }));
  }

  /** Returns the services whose `namespace/name` matches a pattern. Throws Failure if none does. */
  matching(pattern: string, where: string): string[] {
    if (this.services.has(pattern)) return [pattern];
    const expression = new RegExp(
      `^${pattern
        .split('*')
        .map((part) => part.replaceAll('.', '\\.'))
        .join('.*')}$`,
    );
    const found = pattern.includes('*')
      ? [...this.services.keys()].filter((key) => expression.test(key))
      : [];
    if (found.length > 0) return found;
    const some = [...this.services.keys()].slice(0, 5);
    const known = some.length === 0 ? 'there are no services' : `there are ${some.join(', ')}`;
    throw new Failure(
      exitCodes.failed,
      `simulate: ${where}: there is no service ${pattern} (${known}${this.services.size > 5 ? ', ...' : ''})`,
    );
  }

  /** Returns the pods of a service that get new connections. */
  members(service: string): ServicePod[] {
    const found = new Map<string, Set<string>>();
    for (const slice of this.#slicesOfService(service)) {
      for (const { address, target, ready } of slice.endpoints) {
        if (!ready) continue;
        const name = target === '' ? address : target;
        const addresses = found.get(name) ?? new Set();
        found.set(name, addresses.add(address));
      }
    }
    return [...found]
      .map(([name, addresses]) => ({ name, addresses: [...addresses] }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Starts pods of a service on nodes among `nodes`. Returns their addresses. */
  add(service: string, count: number, nodes: readonly string[]): string[] {
    const record = this.services.get(service)!;
    const families = [...new Set(record.clusterIPs.map(familyOf))];
    const added: string[] = [];
    const endpoints = new Map<Family, EndpointRecord[]>();
    for (let i = 0; i < count; i++) {
      const nodeName = this.#random.pick(nodes);
      const number = this.#nextPod();
      for (const family of families) {
        const address = family === 'IPv4' ? generated.pod4(number) : generated.pod6(number);
        const endpoint = endpointAt(address, nodeName, `${record.name}-${number}`);
        this.placement.set(address, nodeName);
        added.push(address);
        const others = endpoints.get(family);
        if (others) others.push(endpoint);
        else endpoints.set(family, [endpoint]);
      }
    }
    for (const [family, list] of endpoints) this.#extend(service, family, list);
    return added;
  }

  /** Removes pods of a service. */
  remove(service: string, members: readonly ServicePod[]): void {
    const gone = new Set(members.flatMap(({ addresses }) => addresses));
    this.#alter(service, (endpoint) => (gone.has(endpoint.address) ? undefined : endpoint));
  }

  /** Makes pods of a service terminate: they keep existing connections. */
  drain(service: string, members: readonly ServicePod[]): void {
    const drained = new Set(members.flatMap(({ addresses }) => addresses));
    this.#alter(service, (endpoint) =>
      drained.has(endpoint.address)
        ? { ...endpoint, ready: false, serving: true, terminating: true }
        : endpoint,
    );
  }

  /** Removes the endpoints of lost nodes. Returns their number. */
  loseNodes(nodes: readonly string[]): number {
    const lost = new Set(nodes);
    let count = 0;
    const touched = new Set(nodes.flatMap((name) => [...(this.#slicesOn.get(name) ?? [])]));
    for (const key of touched) {
      const slice = this.#slices.get(key)!;
      const kept = slice.endpoints.filter((endpoint) => {
        if (!lost.has(endpoint.nodeName)) return true;
        const gone = { slice: key, endpoint };
        const others = this.#lost.get(endpoint.nodeName);
        if (others) others.push(gone);
        else this.#lost.set(endpoint.nodeName, [gone]);
        count++;
        return false;
      });
      if (kept.length < slice.endpoints.length) this.#set({ ...slice, endpoints: kept });
    }
    return count;
  }

  /** Adds the endpoints of returned nodes again. Returns their number. */
  restoreNodes(nodes: readonly string[]): number {
    let count = 0;
    for (const node of nodes) {
      for (const { slice: key, endpoint } of this.#lost.get(node) ?? []) {
        const slice = this.#slices.get(key)!;
        this.#set({ ...slice, endpoints: [...slice.endpoints, endpoint] });
        count++;
      }
      this.#lost.delete(node);
    }
    return count;
  }

  /** Returns the changes since the last call. */
  takeChanges(): ObjectChange<ServiceInput>[] {
    const changes = [...this.#changes.values()].map(
      (object): ObjectChange<ServiceInput> => ({ op: 'set', object }),
    );
    this.#changes.clear();
    return changes;
  }

  *#slicesOfService(service: string): Generator<SliceRecord> {
    for (const key of this.#slicesOf.get(service) ?? []) yield this.#slices.get(key)!;
  }

  #alter(service: string, change: (endpoint: EndpointRecord) => EndpointRecord | undefined): void {
    for (const slice of [...this.#slicesOfService(service)]) {
      const endpoints = slice.endpoints.flatMap((endpoint) => change(endpoint) ?? []);
      if (
        endpoints.some((endpoint, i) => endpoint !== slice.endpoints[i]) ||
        endpoints.length < slice.endpoints.length
      ) {
        this.#set({ ...slice, endpoints });
      }
    }
  }

  /** Adds endpoints to the service's own slice of a family. */
  #extend(service: string, family: Family, endpoints: readonly EndpointRecord[]): void {
    const { namespace, name: serviceName, ports } = this.services.get(service)!;
    const name = `${serviceName}-simulated-${family.toLowerCase()}`;
    const existing = this.#slices.get(`${namespace}/${name}`);
    const model = [...this.#slicesOfService(service)].find((slice) => slice.family === family);
    this.#set({
      ...{ kind: 'slice', namespace, name, service: serviceName, family },
      ports: model?.ports ?? ports.map(({ name, protocol, port }) => ({ name, protocol, port })),
      endpoints: [...(existing?.endpoints ?? []), ...endpoints],
    });
  }

  #set(slice: SliceRecord): void {
    const key = `${slice.namespace}/${slice.name}`;
    const service = `${slice.namespace}/${slice.service}`;
    this.#slices.set(key, slice);
    this.#changes.set(key, slice);
    const own = this.#slicesOf.get(service) ?? new Set();
    this.#slicesOf.set(service, own.add(key));
    const record = this.services.get(service);
    const isLocal = record?.internalLocal || record?.externalLocal;
    for (const { nodeName, nodeHints, zoneHints } of slice.endpoints) {
      const here = this.#slicesOn.get(nodeName) ?? new Set();
      this.#slicesOn.set(nodeName, here.add(key));
      if (isLocal) this.special.add(nodeName);
      for (const name of nodeHints) this.special.add(name);
      if (zoneHints.length > 0) this.zonesMatter = true;
    }
  }

  /**
   * Returns the slice with every endpoint placed on an existing node. Throws Failure for an unknown
   * node.
   */
  #placed(slice: SliceRecord): SliceRecord {
    const endpoints = slice.endpoints.map((endpoint) => {
      const { address, nodeName } = endpoint;
      if (nodeName !== '' && !this.#names.has(nodeName)) {
        throw new Failure(
          exitCodes.failed,
          `simulate: endpoint ${address} of EndpointSlice ${slice.namespace}/${slice.name} is on node ${nodeName}, which does not exist (add a manifest of that Node, raise the number of nodes, or omit nodeName)`,
        );
      }
      const known = this.placement.get(address);
      const node = nodeName !== '' ? nodeName : (known ?? this.#random.pick(this.nodes).name);
      if (known === undefined) this.placement.set(address, node);
      return { ...endpoint, nodeName: node };
    });
    return { ...slice, endpoints };
  }

  #makeNodes(records: readonly NodeRecord[], wanted: Scenario['nodes']): ClusterNode[] {
    const { count, zones } = wanted ?? { count: Math.max(1, records.length), zones: [] };
    if (count < records.length) {
      throw new Failure(
        exitCodes.failed,
        `simulate: the manifests have ${records.length} Nodes, and ${count} ${count === 1 ? 'is' : 'are'} requested (raise nodes, or remove manifests)`,
      );
    }
    const nodes: ClusterNode[] = records.map(({ name, zone, addresses }) => {
      if (addresses.length === 0) {
        throw new Failure(
          exitCodes.failed,
          `simulate: Node ${name} has no address (status.addresses)`,
        );
      }
      return { name, zone, addresses };
    });
    const taken = new Set(records.map(({ name }) => name));
    for (let i = 1; nodes.length < count; i++) {
      const addresses = [generated.node4(i), generated.node6(i)];
      const name = `node${i}`;
      if (taken.has(name) || addresses.some((address) => this.#addresses.has(address))) continue;
      nodes.push({
        name,
        zone: zones.length === 0 ? '' : zones[nodes.length % zones.length]!,
        addresses,
      });
    }
    return nodes;
  }

  #makeServices({
    count,
    backends,
    protocol,
    type,
    algorithm,
    affinitySeconds,
  }: GeneratedServices): void {
    if (type === 'NodePort' && count > lastNodePort - firstNodePort + 1) {
      throw new Failure(
        exitCodes.failed,
        `simulate: services.count is ${count}: there are ${lastNodePort - firstNodePort + 1} NodePorts`,
      );
    }
    const names = this.nodes.map(({ name }) => name);
    const ports = [{ name: '', protocol, port: 80, nodePort: 0 }];
    const slicePorts = [{ name: '', protocol, port: 8080 }];
    for (let i = 1; i <= count; i++) {
      const name = `service-${i}`;
      this.services.set(`${generatedNamespace}/${name}`, {
        ...{
          kind: 'service',
          namespace: generatedNamespace,
          name,
          type,
          algorithm,
          affinitySeconds,
        },
        createdMs: 0,
        clusterIPs: [generated.clusterIP(i)],
        proxyName: undefined,
        ports: type === 'NodePort' ? [{ ...ports[0]!, nodePort: firstNodePort + i - 1 }] : ports,
        externalIPs: [],
        loadBalancerIPs: type === 'LoadBalancer' ? [generated.loadBalancer(i)] : [],
        sourceRanges: [],
        ...{ internalLocal: false, externalLocal: false, healthCheckPort: 0 },
        ...{ publishNotReady: false, weights: undefined, forwarding: undefined, problems: [] },
      });
      if (backends === 0) continue;
      const endpoints = Array.from({ length: backends }, () => {
        const nodeName = this.#random.pick(names);
        const number = this.#nextPod();
        const address = generated.pod4(number);
        this.placement.set(address, nodeName);
        return endpointAt(address, nodeName, `${name}-${number}`);
      });
      this.#set({
        ...{ kind: 'slice', namespace: generatedNamespace, name, service: name, family: 'IPv4' },
        ports: slicePorts,
        endpoints,
      });
    }
  }

  #nextPod(): number {
    for (;;) {
      const number = ++this.#pods;
      if (number >= v4Pods) {
        throw new Failure(exitCodes.failed, `simulate: more than ${v4Pods - 1} pods are requested`);
      }
      if (
        !this.#addresses.has(generated.pod4(number)) &&
        !this.#addresses.has(generated.pod6(number))
      )
        return number;
    }
  }
}

function endpointAt(address: string, nodeName: string, target: string): EndpointRecord {
  return {
    ...{ address, nodeName, target, ready: true, serving: true, terminating: false },
    ...{ zoneHints: [], nodeHints: [] },
  };
}
