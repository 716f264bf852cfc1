import { AF_INET } from '@heddle/sys/net';
import { addressText, readAddress } from './inet.ts';
import type { Attributes, MessageWriter } from './wire.ts';

// linux/rtnetlink.h, linux/lwtunnel.h
const RTA_ENCAP_TYPE = 21;
const RTA_ENCAP = 22;
const LWTUNNEL_ENCAP_IP = 2;
const LWTUNNEL_ENCAP_IP6 = 4;
// The attributes of LWTUNNEL_IP_* and LWTUNNEL_IP6_*; the sixth is FLAGS in both.
const LWTUNNEL_IP_ID = 1;
const LWTUNNEL_IP_DST = 2;
const LWTUNNEL_IP_SRC = 3;
const LWTUNNEL_IP_TTL = 4;
const LWTUNNEL_IP6_HOPLIMIT = 4;
const hopLimitOf = {
  [LWTUNNEL_ENCAP_IP]: LWTUNNEL_IP_TTL,
  [LWTUNNEL_ENCAP_IP6]: LWTUNNEL_IP6_HOPLIMIT,
} as const;
const LWTUNNEL_IP_FLAGS = 6;
/** TUNNEL_CSUM in network byte order. */
const checksumFlag = 0x0100;

/**
 * The tunnel that a route puts packets into (lightweight tunnel). The link of the route is a tunnel
 * device in external mode, which sends them.
 */
export interface RouteEncap {
  /** The number of the virtual network: 0 to 2^24 - 1 for VXLAN. */
  readonly id: number;
  /** The other end of the tunnel. */
  readonly destination: string;
  /** The outer source address. Default: the kernel chooses. */
  readonly source?: string;
  /** Default: 64. */
  readonly hopLimit?: number;
  /** The outer UDP header has a checksum. Default: false. */
  readonly checksum?: boolean;
}

/** Appends the attributes of a tunnel. Throws RangeError. */
export function writeEncap(writer: MessageWriter, encap: RouteEncap): void {
  const destination = readAddress(encap.destination);
  const type = destination.family === AF_INET ? LWTUNNEL_ENCAP_IP : LWTUNNEL_ENCAP_IP6;
  const id = new Uint8Array(8);
  new DataView(id.buffer).setUint32(4, encap.id);
  writer.u16(RTA_ENCAP_TYPE, type).nested(RTA_ENCAP, () => {
    writer.bytes(LWTUNNEL_IP_ID, id).bytes(LWTUNNEL_IP_DST, destination.bytes);
    if (encap.source !== undefined) {
      writer.bytes(LWTUNNEL_IP_SRC, readAddress(encap.source).bytes);
    }
    writer.u8(hopLimitOf[type], encap.hopLimit ?? 64);
    if (encap.checksum) writer.u16(LWTUNNEL_IP_FLAGS, checksumFlag);
  });
}

/** Reads the tunnel of a route; returns undefined without one and for other kinds. Throws MalformedMessage. */
export function readEncap(attributes: Attributes): RouteEncap | undefined {
  const type = attributes.u16(RTA_ENCAP_TYPE);
  if (type !== LWTUNNEL_ENCAP_IP && type !== LWTUNNEL_ENCAP_IP6) return undefined;
  const inner = attributes.nested(RTA_ENCAP);
  const [id, destination] = [inner?.bytes(LWTUNNEL_IP_ID), inner?.bytes(LWTUNNEL_IP_DST)];
  if (!inner || id?.length !== 8 || !destination) return undefined;
  const source = inner.bytes(LWTUNNEL_IP_SRC);
  const isSet = source?.some((byte) => byte !== 0);
  return {
    id: new DataView(id.buffer, id.byteOffset).getUint32(4),
    destination: addressText(destination),
    ...(source && isSet ? { source: addressText(source) } : {}),
    hopLimit: inner.u8(hopLimitOf[type]) ?? 0,
    checksum: ((inner.u16(LWTUNNEL_IP_FLAGS) ?? 0) & checksumFlag) !== 0,
  };
}
