import {
  type Decision,
  eventType,
  type FlowRecord,
  type Party,
  party,
  reservedIdentity,
  tcpFlag,
} from '@heddle/hubble';
import {
  PolicyDecision_Relation,
  SocketTranslationPoint,
  TraceObservationPoint,
  TraceReason,
  TrafficDirection,
  Verdict,
} from '@heddle/hubble/messages';
import { parseIp } from '@heddle/sys';
import type { InventedCluster, InventedLink, InventedWorkload } from '@heddle/web/testing/cluster';
import { type InventedKind, inventedKinds } from '@heddle/web/testing/drops';
import { seededRandom } from '@heddle/web/testing/random';

/** A flow and the node that observes it. */
export interface NodeFlow {
  readonly node: string;
  readonly record: FlowRecord;
}

/** Invented flows of an invented cluster. Equal seeds and steps give equal flows. */
export class InventedFlows {
  readonly #cluster: InventedCluster;
  readonly #random: () => number;
  readonly #parties = new Map<string, Party>();
  readonly #kinds: ReadonlyMap<InventedLink, InventedKind>;
  readonly #scale: number;

  /** With `flowsPerSecond`, the rates of all links are scaled to that sum. */
  constructor(cluster: InventedCluster, seed: number, flowsPerSecond?: number) {
    this.#cluster = cluster;
    this.#random = seededRandom(seed);
    this.#kinds = new Map(inventedKinds(cluster).map((kind) => [kind.link, kind]));
    const all = cluster.links.reduce((sum, each) => sum + rateOf(each), 0);
    this.#scale = flowsPerSecond === undefined ? 1 : flowsPerSecond / all;
  }

  /** Returns the flows of `milliseconds` that end at `time` (milliseconds since 1970), in their order. */
  step(time: number, milliseconds: number): NodeFlow[] {
    const flows: NodeFlow[] = [];
    for (const link of this.#cluster.links) {
      if (link.last > 1) continue;
      const expected = (rateOf(link) * this.#scale * milliseconds) / 1000;
      const count = Math.floor(expected) + (this.#random() < expected % 1 ? 1 : 0);
      for (let index = 0; index < count; index++) {
        flows.push(...this.#flowsOf(link, time - this.#random() * milliseconds));
      }
    }
    return flows.sort((a, b) => a.record.time - b.record.time);
  }

  /** Returns the flows of one connection, or of one packet that is dropped. */
  #flowsOf(link: InventedLink, time: number): NodeFlow[] {
    const kind = this.#kinds.get(link);
    const [client, server] = [this.#end(link.from), this.#end(link.to)];
    const isDropped = kind !== undefined;
    const direction =
      client.node === '' || kind?.direction === 'ingress'
        ? TrafficDirection.INGRESS
        : TrafficDirection.EGRESS;
    const node =
      (direction === TrafficDirection.INGRESS ? server.node : client.node) ||
      client.node ||
      server.node ||
      this.#cluster.nodes[0]!;
    const decisions = decisionsOf(link, kind);
    const record: FlowRecord = {
      ...{ time, started: time, source: client.address, destination: server.address },
      ...{ sourcePort: 32_768 + Math.floor(this.#random() * 28_000), destinationPort: link.port },
      ...{ frontendPort: 0, protocol: link.protocol },
      tcpFlags: link.protocol === 6 ? tcpFlag.SYN : 0,
      verdict: isDropped ? Verdict.DROPPED : Verdict.FORWARDED,
      dropReason: kind?.reason ?? 0,
      direction,
      isReply: isDropped ? undefined : false,
      eventType: isDropped ? eventType.drop : eventType.trace,
      observationPoint: TraceObservationPoint.TO_STACK,
      traceReason: isDropped ? TraceReason.TRACE_REASON_UNKNOWN : TraceReason.NEW,
      socketPoint: SocketTranslationPoint.SOCK_XLATE_POINT_UNKNOWN,
      ...{ interfaceIndex: 0, bytes: isDropped ? 60 : link.bytesOut, packets: isDropped ? 1 : 5 },
      ...{ sourceParty: client.party, destinationParty: server.party },
      ...(decisions.length === 0 ? {} : { decisions }),
    };
    if (isDropped) return [{ node, record }];
    const reply: FlowRecord = {
      ...record,
      ...{ time: time + 0.4, source: server.address, destination: client.address },
      ...{ sourcePort: link.port, destinationPort: record.sourcePort, isReply: true },
      tcpFlags: link.protocol === 6 ? tcpFlag.SYN | tcpFlag.ACK : 0,
      ...{ traceReason: TraceReason.REPLY, bytes: link.bytesIn },
      ...{ sourceParty: server.party, destinationParty: client.party },
    };
    return [
      { node, record },
      { node, record: reply },
    ];
  }

  #end(workload: InventedWorkload) {
    const { namespace, name, kind, pods, labels } = workload;
    const pod = pods[Math.floor(this.#random() * pods.length)];
    const address =
      pod?.address ??
      workload.addresses[Math.floor(this.#random() * workload.addresses.length)] ??
      '192.0.2.1';
    const host = address.replace(/\/\d+$/, '');
    const key = pod ? `${namespace}/${pod.name}` : `${name}/${host}`;
    const isHost = /[a-z]/.test(name) && !name.includes('/');
    const known =
      this.#parties.get(key) ??
      (namespace === ''
        ? party(
            { identity: reservedIdentity.world, labels: ['reserved:world'] },
            isHost ? [name] : [],
          )
        : party({
            ...{ identity: 1000, namespace, podName: pod?.name ?? name, clusterName: 'default' },
            labels: labels.map((label) => `k8s:${label}`),
            workloads: [{ name, kind }],
          }));
    this.#parties.set(key, known);
    return { party: known, address: parseIp(host)!, node: pod?.node ?? '' };
  }
}

function rateOf({ forwarded, dropped, refused }: InventedLink): number {
  return forwarded + dropped + refused;
}

const relations = {
  allowed: PolicyDecision_Relation.DECIDES,
  denied: PolicyDecision_Relation.DECIDES,
  isolates: PolicyDecision_Relation.ISOLATES,
  nearest: PolicyDecision_Relation.NEAREST,
};

function decisionsOf({ allowedBy }: InventedLink, kind: InventedKind | undefined): Decision[] {
  const { INGRESS, EGRESS } = TrafficDirection;
  if (kind) {
    return kind.rules.map(({ policy, rule = 0, direction, relation }) => ({
      ...{ policy, rule, ruleName: '', verdict: Verdict.DROPPED, relation: relations[relation] },
      direction: direction === 'ingress' ? INGRESS : EGRESS,
    }));
  }
  if (!allowedBy) return [];
  const decision = { policy: allowedBy, rule: 1, ruleName: '', verdict: Verdict.FORWARDED };
  return [{ ...decision, direction: INGRESS, relation: relations.allowed }];
}
