import type { FlowEntry, PortUse } from '@heddle/datapath';

// The answers of the control methods about the flow table. The shapes are stable: fields are added, not changed.

/** A flow of external traffic, as `flow.list` returns it. */
export interface FlowItem extends FlowEntry {
  /** `namespace/name` of the service whose address the client sends to; absent if it was deleted. */
  readonly service?: string;
}

/** The result of `flow.flush` on a page of the flow table. */
export interface FlushCount {
  /** Flows that the filters match. */
  readonly matched: number;
  /** The number of them that it ended; with `dryRun` none. */
  readonly ended: number;
}

/** SNAT ports that are taken towards one backend, as `nat.list` returns them. */
export interface NatDestination extends PortUse {
  /** The number of SNAT ports. */
  readonly ports: number;
}

/** An answer of a name server to a pod of this node, as `dns.follow` returns it. Nothing has checked the message. */
export interface DnsEntry {
  readonly server: string;
  readonly client: string;
  /** Host order. */
  readonly clientPort: number;
  /** The first 512 bytes of the message, in hexadecimal digits. */
  readonly message: string;
}
