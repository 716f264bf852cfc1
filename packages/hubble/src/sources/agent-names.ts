import { create } from '@bufbuild/protobuf';
import type { NameEntry, NodeName, PodName, RemovedName, ServiceName } from '@heddle/agent';
import { protocolNumber } from '@heddle/datapath';
import { type Cidr, cidrContains, type IpBytes, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import type { DnsMessage } from '../dns/message.ts';
import { DnsNames } from '../dns/names.ts';
import { reservedIdentity } from '../flows/identity.ts';
import { type Party, party } from '../flows/record.ts';
import { type Service, ServiceSchema } from '../generated/flow/flow_pb.js';
import { addressKey, addressKeyOf } from './address-key.ts';
import { PodParties } from './pod-parties.ts';
import type { NodeNames } from './records.ts';

/** Changes of names, the oldest first. */
export interface NameBatch {
  /** True if what is not in the batch does not exist. */
  readonly isFull: boolean;
  readonly items: readonly (NameEntry | RemovedName)[];
}

const reserved = {
  world: party({ identity: reservedIdentity.world, labels: ['reserved:world'] }),
  unmanaged: party({ identity: reservedIdentity.unmanaged, labels: ['reserved:unmanaged'] }),
  host: party({ identity: reservedIdentity.host, labels: ['reserved:host'] }),
  hostOfApiServer: party({
    identity: reservedIdentity.host,
    labels: ['reserved:host', 'reserved:kube-apiserver'],
  }),
  remoteNode: party({ identity: reservedIdentity.remoteNode, labels: ['reserved:remote-node'] }),
  remoteApiServer: party({
    identity: reservedIdentity.kubeApiserver,
    labels: ['reserved:kube-apiserver', 'reserved:remote-node'],
  }),
  apiServer: party({
    identity: reservedIdentity.kubeApiserver,
    labels: ['reserved:kube-apiserver'],
  }),
};

/** An address, resolved. */
interface End {
  readonly party: Party;
  readonly isLocalPod: boolean;
}

/** The most addresses that are kept resolved. */
const knownMax = 65_536;
/** The most sets of names that flows share. */
const namedMax = 16_384;

/** The names of addresses as an agent knows them: pods, services, nodes and API servers. */
export class AgentNames implements NodeNames {
  readonly #ownNode: string;
  readonly #pods: PodParties;
  readonly #nodes = new Map<string, NodeName>();
  readonly #services = new Map<string, ServiceName>();
  #servers: ReadonlySet<string> = new Set();
  /** The addresses of this node. */
  #own: ReadonlySet<string> = new Set();
  #remote: ReadonlySet<string> = new Set();
  #ranges: readonly Cidr[] = [];
  #frontends: ReadonlyMap<string, Service> = new Map();
  #interfaces: ReadonlyMap<number, string> = new Map();
  readonly #known = new Map<string | number, End>();
  /** Ends of the world by their names, which their flows share. */
  readonly #named = new Map<string, End>();

  readonly #dns: DnsNames;
  readonly #now: () => number;

  /** `ownNode` is the name of the observer's node; `now` returns milliseconds since 1970. */
  constructor(cluster: string, ownNode: string, { dns = new DnsNames(), now = Date.now } = {}) {
    this.#ownNode = ownNode;
    this.#dns = dns;
    this.#now = now;
    this.#pods = new PodParties(cluster);
  }

  /** The nodes of the cluster, this one included. */
  get nodes(): Iterable<NodeName> {
    return this.#nodes.values();
  }

  /** The labels of this node in the form KEY=VALUE. */
  get nodeLabels(): readonly string[] {
    const { labels = [] } = this.#nodes.get(this.#ownNode) ?? {};
    return labels.flatMap((key, i) => (i % 2 === 0 ? `${key}=${labels[i + 1]}` : []));
  }

  /** Takes changes of names. */
  apply({ isFull, items }: NameBatch): void {
    if (items.length === 0 && !isFull) return;
    if (isFull) {
      this.#pods.begin();
      this.#nodes.clear();
      this.#services.clear();
      this.#servers = new Set();
    }
    const kinds = new Set(items.map(({ kind }) => kind));
    for (const item of items) this.#take(item);
    if (isFull) this.#pods.end();
    if (isFull || kinds.has('node')) this.#renewNodes();
    if (isFull || kinds.has('service')) this.#renewFrontends();
    this.#known.clear();
  }

  /** Replaces the addresses of this node and the names of its interfaces by their indexes. */
  setNode(addresses: readonly string[], interfaces: ReadonlyMap<number, string>): void {
    this.#interfaces = interfaces;
    const own = new Set(addresses.map(addressKeyOf));
    if (own.size === this.#own.size && [...own].every((key) => this.#own.has(key))) return;
    this.#own = own;
    this.#renewFrontends();
    this.#known.clear();
  }

  /** Takes the addresses of a name from the answer of a name server. Only those of the world get the name. */
  learn({ query, addresses, ttl }: Pick<DnsMessage, 'query' | 'addresses' | 'ttl'>): void {
    for (const text of addresses) {
      const address = parseIp(text);
      if (address) this.#dns.add(addressKey(address), query, ttl, this.#now());
    }
  }

  party(address: IpBytes): Party {
    return this.#end(address).party;
  }

  isLocalPod(address: IpBytes): boolean {
    return this.#end(address).isLocalPod;
  }

  service(address: IpBytes, port: number, protocol: number): Service | undefined {
    return this.#frontends.get(frontendKey(addressKey(address), port, protocol));
  }

  interfaceName(index: number): string {
    return this.#interfaces.get(index) ?? '';
  }

  #take(item: NameEntry | RemovedName): void {
    const key = `${item.namespace}/${item.name}`;
    const isRemoved = 'isRemoved' in item;
    switch (item.kind) {
      case 'pod':
        if (isRemoved) this.#pods.remove(key);
        else this.#pods.set(key, item as PodName);
        return;
      case 'node':
        if (isRemoved) this.#nodes.delete(item.name);
        else this.#nodes.set(item.name, item as NodeName);
        return;
      case 'service':
        if (isRemoved) this.#services.delete(key);
        else this.#services.set(key, item as ServiceName);
        return;
      case 'apiServer':
        this.#servers = new Set(isRemoved ? [] : item.addresses.map(addressKeyOf));
    }
  }

  #renewNodes(): void {
    const others = [...this.#nodes.values()].filter(({ name }) => name !== this.#ownNode);
    this.#remote = new Set(others.flatMap(({ addresses }) => addresses.map(addressKeyOf)));
    this.#ranges = [...this.#nodes.values()].flatMap(({ ranges }) =>
      ranges.flatMap((text) => parseCidr(text) ?? []),
    );
  }

  /** NodePorts are at each address of the node; a port of a service's own address comes first. */
  #renewFrontends(): void {
    const frontends = new Map<string, Service>();
    for (const { namespace, name, addresses, ports } of this.#services.values()) {
      const service = create(ServiceSchema, { namespace, name });
      const keys = addresses.map(addressKeyOf);
      for (const { protocol, port, nodePort } of ports) {
        const number = protocolNumber(protocol) ?? 0;
        for (const key of keys) frontends.set(frontendKey(key, port, number), service);
        if (nodePort === 0) continue;
        for (const key of this.#own) {
          const place = frontendKey(key, nodePort, number);
          if (!frontends.has(place)) frontends.set(place, service);
        }
      }
    }
    this.#frontends = frontends;
  }

  /** Most packets are of few addresses, so what is found out about one is kept until names change. */
  #end(address: IpBytes): End {
    const key = isIpv4(address) ? ipv4Number(address) : addressKey(address);
    const known = this.#known.get(key);
    if (known) return known.party === reserved.world ? this.#worldEnd(known, address) : known;
    const text = addressKey(address);
    const pod = this.#pods.at(text);
    const end = pod
      ? { party: pod.party, isLocalPod: pod.node === this.#ownNode }
      : { party: this.#otherParty(text, address), isLocalPod: false };
    if (this.#known.size >= knownMax) this.#known.clear();
    this.#known.set(key, end);
    return end.party === reserved.world ? this.#worldEnd(end, address) : end;
  }

  /** Returns an end of the world with the names that it has now. */
  #worldEnd(end: End, address: IpBytes): End {
    if (this.#dns.size === 0) return end;
    const names = this.#dns.of(addressKey(address), this.#now());
    if (names.length === 0) return end;
    const key = names.join(' ');
    let named = this.#named.get(key);
    if (!named) {
      if (this.#named.size >= namedMax) this.#named.clear();
      named = { party: { endpoint: reserved.world.endpoint, names }, isLocalPod: false };
      this.#named.set(key, named);
    }
    return named;
  }

  #otherParty(key: string, address: IpBytes): Party {
    const isServer = this.#servers.has(key);
    if (this.#own.has(key)) return isServer ? reserved.hostOfApiServer : reserved.host;
    if (this.#remote.has(key)) return isServer ? reserved.remoteApiServer : reserved.remoteNode;
    if (isServer) return reserved.apiServer;
    const isPods = this.#ranges.some((range) => cidrContains(range, address));
    return isPods ? reserved.unmanaged : reserved.world;
  }
}

/** Returns the bytes of an IPv4 address as a number, which is a faster key than a text. */
function ipv4Number(address: IpBytes): number {
  return (address[12]! << 24) | (address[13]! << 16) | (address[14]! << 8) | address[15]!;
}

function frontendKey(address: string, port: number, protocol: number): string {
  return `${address} ${port} ${protocol}`;
}
