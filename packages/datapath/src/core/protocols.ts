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

const numbers = new Map(Object.entries(names).map(([number, name]) => [name, Number(number)]));

/** Returns the number of a protocol by its name as `protocolText` writes it, or undefined for other text. */
export function protocolNumber(text: string): number | undefined {
  const known = numbers.get(text);
  if (known !== undefined) return known;
  const [, digits] = /^protocol (\d{1,3})$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits);
}
