import { create } from '@bufbuild/protobuf';
import type { AttachmentEntry, NodeEntry, PodEntry, ServiceEntry } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { protocolNumber } from '@heddle/datapath';
import { type Cidr, cidrContains, type IpBytes, isIpv4, parseCidr, parseIp } from '@heddle/sys';
import { identityOf, reservedIdentity } from '../flows/identity.ts';
import { type Party, party } from '../flows/record.ts';
import { type Service, ServiceSchema } from '../generated/flow/flow_pb.js';
import type { NodeNames } from './records.ts';

/** The answers of the agent that names come from. */
export interface NameLists {
  readonly pods: readonly PodEntry[];
  readonly attachments: readonly Pick<AttachmentEntry, 'interface' | 'ifindex'>[];
  readonly services: readonly Pick<ServiceEntry, 'namespace' | 'name' | 'protocol' | 'frontends'>[];
  readonly nodes: readonly Pick<NodeEntry, 'name' | 'addresses' | 'ranges'>[];
}

/** Reads the lists from an agent or a dump. Throws Failure. */
export async function readNameLists(agent: ControlSource): Promise<NameLists> {
  const list = async <T>(method: string): Promise<T[]> => {
    const items: T[] = [];
    for await (const item of agent.items<T>(method)) items.push(item);
    return items;
  };
  return {
    pods: await list<PodEntry>('pod.list'),
    attachments: await list<AttachmentEntry>('attachment.list'),
    services: await list<ServiceEntry>('service.list'),
    nodes: await list<NodeEntry>('node.list'),
  };
}

const unknownEnds = {
  world: party({ identity: reservedIdentity.world, labels: ['reserved:world'] }),
  unmanaged: party({ identity: reservedIdentity.unmanaged, labels: ['reserved:unmanaged'] }),
  host: party({ identity: reservedIdentity.host, labels: ['reserved:host'] }),
  remoteNode: party({ identity: reservedIdentity.remoteNode, labels: ['reserved:remote-node'] }),
};

/** An address, resolved. */
interface End {
  readonly party: Party;
  readonly isLocalPod: boolean;
}

/** The most addresses that are kept resolved. */
const knownMax = 65_536;

/**
 * The names of addresses as an agent knows them: its pods, services and nodes. Labels of pods and the names
 * of other nodes' pods are not among the agent's answers yet: a pod has the label of its namespace, and an
 * address of another node's range is `reserved:unmanaged`.
 */
export class AgentNames implements NodeNames {
  readonly #cluster: string;
  #pods = new Map<string, Party>();
  #ends: ReadonlyMap<string, Party> = new Map();
  #ranges: readonly Cidr[] = [];
  #services: ReadonlyMap<string, Service> = new Map();
  #interfaces: ReadonlyMap<number, string> = new Map();
  readonly #known = new Map<string | number, End>();

  constructor(cluster: string) {
    this.#cluster = cluster;
  }

  /** Replaces what is known. `ownAddresses` are those of this node. */
  set({ pods, attachments, services, nodes }: NameLists, ownAddresses: readonly string[]): void {
    this.#known.clear();
    const ends = new Map<string, Party>();
    for (const { addresses } of nodes) {
      for (const address of addresses) ends.set(keyOfText(address), unknownEnds.remoteNode);
    }
    for (const address of ownAddresses) ends.set(keyOfText(address), unknownEnds.host);
    this.#ends = ends;
    this.#ranges = nodes.flatMap(({ ranges }) => ranges.flatMap((text) => parseCidr(text) ?? []));
    this.#pods = new Map(
      pods.flatMap(({ namespace, name, addresses }) => {
        const own = this.#podParty(namespace, name, addresses);
        return addresses.map((address) => [keyOfText(address), own] as const);
      }),
    );
    this.#services = new Map(
      services.flatMap(({ namespace, name, protocol, frontends }) => {
        const service = create(ServiceSchema, { namespace, name });
        const number = protocolNumber(protocol) ?? 0;
        return frontends.map(
          ({ address, port }) => [serviceKey(keyOfText(address), port, number), service] as const,
        );
      }),
    );
    this.#interfaces = new Map(
      attachments.map(({ ifindex, interface: name }) => [ifindex, name] as const),
    );
  }

  /** Returns the party of a pod; one that has not changed keeps its object. */
  #podParty(namespace: string, name: string, addresses: readonly string[]): Party {
    const known = addresses.map((address) => this.#pods.get(keyOfText(address))).find(Boolean);
    const endpoint = known?.endpoint;
    if (known && endpoint?.namespace === namespace && endpoint.podName === name) return known;
    const labels = [`k8s:io.kubernetes.pod.namespace=${namespace}`];
    return party({
      ...{ namespace, podName: name, labels, clusterName: this.#cluster },
      identity: identityOf(labels),
    });
  }

  party(address: IpBytes): Party {
    return this.#end(address).party;
  }

  isLocalPod(address: IpBytes): boolean {
    return this.#end(address).isLocalPod;
  }

  /** Most packets are of few addresses, so what is found out about one is kept until names change. */
  #end(address: IpBytes): End {
    const key = isIpv4(address) ? ipv4Number(address) : keyOf(address);
    const known = this.#known.get(key);
    if (known) return known;
    const text = keyOf(address);
    const pod = this.#pods.get(text);
    const end = { party: pod ?? this.#otherParty(text, address), isLocalPod: pod !== undefined };
    if (this.#known.size >= knownMax) this.#known.clear();
    this.#known.set(key, end);
    return end;
  }

  #otherParty(key: string, address: IpBytes): Party {
    const known = this.#ends.get(key);
    if (known) return known;
    const isPods = this.#ranges.some((range) => cidrContains(range, address));
    return isPods ? unknownEnds.unmanaged : unknownEnds.world;
  }

  service(address: IpBytes, port: number, protocol: number): Service | undefined {
    return this.#services.get(serviceKey(keyOf(address), port, protocol));
  }

  interfaceName(index: number): string {
    return this.#interfaces.get(index) ?? '';
  }
}

/** Returns the bytes of an IPv4 address as a number, which is a faster key than a text. */
function ipv4Number(address: IpBytes): number {
  return (address[12]! << 24) | (address[13]! << 16) | (address[14]! << 8) | address[15]!;
}

/** Returns the 16 bytes as a text of as many characters. */
function keyOf(address: IpBytes): string {
  return Buffer.from(address.buffer, address.byteOffset, 16).toString('latin1');
}

function keyOfText(address: string): string {
  const bytes = parseIp(address);
  return bytes ? keyOf(bytes) : '';
}

function serviceKey(address: string, port: number, protocol: number): string {
  return `${address} ${port} ${protocol}`;
}
