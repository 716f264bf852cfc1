import { type DnsRecord, dnsTypes, encodeAnswer } from './dns-message.ts';

const hosts = [
  ...['example.com', 'www.example.com', 'EXAMPLE.com', 'fooexample.com', 'com'],
  ...['foo.org', 'a.b.foo.org', 'x.net', 'sub.x.net', 'y.sub.x.net'],
  ...['evil.test', 'cdn.test', 'e.cdn.test'],
  `${'l'.repeat(60)}.${'m'.repeat(60)}.${'n'.repeat(60)}.example.com`,
];

/** Numbers that seem to be random, and are the same for the same seed. */
export class Randomness {
  #state: bigint;

  constructor(seed: number) {
    this.#state = BigInt(seed);
  }

  /** Returns a whole number from 0 up to but not including `end`. */
  below(end: number): number {
    this.#state = (this.#state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((this.#state >> 33n) % BigInt(end));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Returns a message of a name server: mostly an answer with a chain of names, and in part damaged. */
export function randomAnswer(random: Randomness): Uint8Array {
  const question = random.pick(hosts);
  const records: DnsRecord[] = [];
  let owner = question;
  for (let left = random.below(8); left > 0; left--) {
    const name = random.below(6) === 0 ? random.pick(hosts) : owner;
    const ttl = random.pick([0, 5, 60, 300, 86_400, 0x80000001]);
    const kind = random.below(8);
    if (kind < 3) {
      const data = Uint8Array.of(198, 51, random.below(200), random.below(250) + 1);
      records.push({ name, type: dnsTypes.a, ttl, data });
    } else if (kind < 5) {
      const data = Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? 0x20 : random.below(256)));
      records.push({ name, type: dnsTypes.aaaa, ttl, data });
    } else if (kind < 7) {
      const target = random.pick(hosts);
      records.push({ name, type: dnsTypes.cname, ttl, data: target });
      if (random.below(4) > 0) owner = target;
    } else {
      const data = Uint8Array.from({ length: random.below(20) }, () => random.below(256));
      const type = random.pick([dnsTypes.txt, dnsTypes.a, dnsTypes.aaaa]);
      records.push({ name, type, ttl, class: random.pick([1, 3]), data });
    }
  }
  const flags = random.below(10) === 0 ? random.below(65_536) : 0x8180;
  const bytes = encodeAnswer({ question, records, flags, isPlain: random.below(2) === 0 });
  if (random.below(3) === 0) {
    for (let left = random.below(4); left >= 0; left--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
  }
  return random.below(10) === 0 ? bytes.subarray(0, 1 + random.below(bytes.length)) : bytes;
}
