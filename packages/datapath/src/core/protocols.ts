/** Numbers of IPPROTO_* (IANA's registry of protocol numbers) of the protocols that services have. */
export const protocolNumbers = { TCP: 6, UDP: 17, SCTP: 132 } as const;

const names: Readonly<Record<number, string>> = {
  1: 'ICMP',
  6: 'TCP',
  17: 'UDP',
  58: 'ICMPv6',
  132: 'SCTP',
};

/** Returns the name of a protocol's number, e.g. `TCP`. */
export function protocolText(number: number): string {
  return names[number] ?? `protocol ${number}`;
}
