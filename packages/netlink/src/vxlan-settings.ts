import type { Attributes, MessageWriter } from './wire.ts';

// linux/if_link.h
const IFLA_VXLAN_LEARNING = 7;
const IFLA_VXLAN_PORT = 15;
const IFLA_VXLAN_COLLECT_METADATA = 25;

/** The settings of a VXLAN device in external mode: each packet says which tunnel it goes through. */
export interface ExternalVxlan {
  /** UDP port, in host order, of both ends. */
  readonly port: number;
}

/** Appends the settings of a VXLAN device. */
export function writeVxlan(writer: MessageWriter, { port }: ExternalVxlan): void {
  writer
    .u8(IFLA_VXLAN_COLLECT_METADATA, 1)
    .u8(IFLA_VXLAN_LEARNING, 0)
    .bytes(IFLA_VXLAN_PORT, Uint8Array.of(port >> 8, port & 0xff));
}

/** Reads the settings of a VXLAN device; returns undefined for one that is not in external mode. */
export function readVxlan(data: Attributes | undefined): ExternalVxlan | undefined {
  const port = data?.bytes(IFLA_VXLAN_PORT);
  if (port?.length !== 2 || data?.u8(IFLA_VXLAN_COLLECT_METADATA) !== 1) return undefined;
  return { port: (port[0]! << 8) | port[1]! };
}
