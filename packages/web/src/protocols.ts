const names: Readonly<Record<number, string>> = {
  1: 'ICMP',
  2: 'IGMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  112: 'VRRP',
  132: 'SCTP',
};

/** Returns the name of an IP protocol, or its number in words. */
export function protocolName(protocol: number): string {
  return names[protocol] ?? `protocol ${protocol}`;
}
