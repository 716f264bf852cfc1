import { type Judgement, judge, judgeDirection } from '@heddle/policy';
import type { ClusterObjects } from './cluster.ts';
import type { AnyProtocol } from './texts.ts';

/** A connection of the flow table, as `heddle flow list -o json` prints it. Ports are in host order. */
export interface Flow {
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP';
  readonly client: string;
  readonly clientPort: number;
  /** The address that the client sends to; that of the backend if nothing is translated. */
  readonly frontend: string;
  readonly frontendPort: number;
  readonly backend: string;
  readonly backendPort: number;
  /** The address that the backend sees as the client. */
  readonly source: string;
  readonly service?: string;
}

/** Returns the protocol and port that policies see. */
export function policedPort({ protocol, backendPort }: Flow): {
  readonly protocol: AnyProtocol;
  readonly port: number;
} {
  return protocol === 'ICMP' ? { protocol: 'other', port: 0 } : { protocol, port: backendPort };
}

/**
 * Returns the verdict on a connection that a node sees: of its egress rules about the client, and of the ingress rules of
 * the backend's node. If that is another node, it sees the translated source.
 */
export function judgeFlow({ world }: ClusterObjects, flow: Flow, node: string): Judgement {
  const question = { from: flow.client, to: flow.backend, ...policedPort(flow) };
  const judgement = judge(world, question);
  const server = world.podAt(flow.backend);
  if (!server || server.nodeName === node || flow.source === flow.client) return judgement;
  const ingress = judgeDirection(world, { ...question, from: flow.source }, 'ingress');
  return { ...judgement, ingress, allowed: judgement.egress.allowed && ingress.allowed };
}
