import { mapTypes } from '@heddle/ebpf';
import { mapSpec } from '@heddle/ebpf/testing/map-spec';

/**
 * Programs of random instructions that the verifier accepts: r0 to r5 are always numbers; r6 points to the
 * context, r7 to the packet (64 bytes of it are checked), r9 to the value of map `result`. The results of
 * their computations are in the return value, the packet and the maps.
 */

/** The number of bytes of the packet that programs use. */
export const PACKET = 64;

const RESULT = 128;

/** The maps that random programs use. */
export const randomMaps = {
  result: mapSpec({ name: 'result', type: mapTypes.array, valueSize: RESULT, maxEntries: 1 }),
  hash: mapSpec({ name: 'hash', type: mapTypes.hash, valueSize: 16, maxEntries: 6 }),
  array: mapSpec({ name: 'array', type: mapTypes.array, valueSize: 16, maxEntries: 6 }),
  prefixes: mapSpec({
    name: 'prefixes',
    type: mapTypes.lpm_trie,
    keySize: 8,
    valueSize: 16,
    maxEntries: 6,
    flags: 1,
  }),
} as const;

/** The number of 8-byte stack slots with numbers. A key is below them. */
const SLOTS = 8;
const KEY = 8 * SLOTS + 8;

type Random = () => number;

export class RandomProgram {
  readonly #random: Random;
  readonly #lines: string[] = [];
  readonly #functions: string[] = [];
  #labels = 0;

  constructor(random: Random, offsets: { data: number; dataEnd: number }) {
    this.#random = random;
    const out = this.#lines;
    out.push(
      'r6 = r1',
      `r7 = *(u32 *)(r6 + ${offsets.data})`,
      `r8 = *(u32 *)(r6 + ${offsets.dataEnd})`,
    );
    out.push('r0 = 0', 'r1 = r7', `r1 += ${PACKET}`, 'if r1 > r8 goto end', 'r9 = value result');
    for (let slot = 1; slot <= SLOTS; slot++) {
      out.push(`r0 = *(u64 *)(r7 + ${8 * slot - 8})`, `*(u64 *)(r10 - ${8 * slot}) = r0`);
    }
    this.#refill(0);
    const statements = 5 + this.#below(35);
    for (let i = 0; i < statements; i++) this.#statement(statements - i);
    this.#flush();
    for (let r = 0; r <= 5; r++) out.push(`*(u64 *)(r9 + ${8 * r}) = r${r}`);
    out.push('end:', 'exit', ...this.#functions);
  }

  /** The program in the assembler's notation. */
  get source(): string {
    return this.#lines.join('\n');
  }

  /** Labels of jumps that are not placed yet, with the number of statements before them. */
  readonly #pending: { label: string; left: number }[] = [];

  #statement(left: number): void {
    for (const jump of this.#pending.filter((jump) => --jump.left <= 0)) {
      this.#lines.push(`${jump.label}:`);
      this.#pending.splice(this.#pending.indexOf(jump), 1);
    }
    const kinds: readonly (readonly [weight: number, emit: () => void])[] = [
      [12, () => this.#lines.push(this.#arithmetic(6))],
      [3, () => this.#lines.push(this.#unary(6))],
      [4, () => this.#memory()],
      [3, () => this.#atomic()],
      [4, () => this.#jump(left)],
      [3, () => this.#map()],
      [1, () => this.#call()],
      [1, () => this.#checksum()],
    ];
    let pick = this.#below(kinds.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, emit] of kinds) {
      pick -= weight;
      if (pick < 0) {
        emit();
        return;
      }
    }
  }

  #flush(): void {
    for (const { label } of this.#pending) this.#lines.push(`${label}:`);
    this.#pending.length = 0;
  }

  #arithmetic(registers: number): string {
    const bank = this.#pick(['r', 'w']);
    const to = `${bank}${this.#below(registers)}`;
    const bits = bank === 'r' ? 64 : 32;
    const operator = this.#pick([
      '+=',
      '-=',
      '*=',
      '/=',
      's/=',
      '%=',
      's%=',
      '|=',
      '&=',
      '^=',
      '<<=',
      '>>=',
      's>>=',
      '=',
    ]);
    if (this.#below(2) === 0) return `${to} ${operator} ${bank}${this.#below(registers)}`;
    const shift = /<<=|>>=/.test(operator);
    const value = shift ? this.#below(bits) : this.#number();
    return `${to} ${operator} ${value === 0 && /[/%]/.test(operator) ? 3 : value}`;
  }

  #unary(registers: number): string {
    const [to, from] = [this.#below(registers), this.#below(registers)];
    return this.#pick([
      `r${to} = -r${to}`,
      `w${to} = -w${to}`,
      `r${to} = (s8)r${from}`,
      `r${to} = (s16)r${from}`,
      `r${to} = (s32)r${from}`,
      `w${to} = (s8)w${from}`,
      `w${to} = (s16)w${from}`,
      ...['le16', 'le32', 'le64', 'be16', 'be32', 'be64', 'bswap16', 'bswap32', 'bswap64'].map(
        (swap) => `r${to} = ${swap} r${to}`,
      ),
      `r${to} = ${this.#wide()} ll`,
    ]);
  }

  #memory(): void {
    const size = this.#pick([1, 2, 4, 8]);
    const type = `u${8 * size}`;
    const to = this.#below(6);
    const place = this.#pick([
      // The verifier demands alignment of the stack only.
      () => `(r10 - ${8 * SLOTS - size * this.#below((8 * SLOTS) / size)})`,
      () => `(r7 + ${this.#below(PACKET - size + 1)})`,
      () => `(r9 + ${this.#below(RESULT - size + 1)})`,
    ])();
    const signed = size < 8 && this.#below(3) === 0;
    this.#lines.push(
      this.#pick([
        `r${to} = *(${signed ? `s${8 * size}` : type} *)${place}`,
        `*(${type} *)${place} = r${to}`,
        `*(${type} *)${place} = ${this.#number()}`,
      ]),
    );
  }

  #atomic(): void {
    const size = this.#pick([4, 8]);
    const bank = size === 8 ? 'r' : 'w';
    // Not on the stack: Linux 6.18 merges states as if atomic operations didn't read their slot, and
    // considers live branches dead. (Found by this test: seed 240593. The shortest program:
    // a slot is loaded, a branch bounds the value, then the slot is fetched from and compared.)
    const place = `(r9 + ${size * this.#below(RESULT / size)})`;
    const from = this.#below(6);
    this.#lines.push(
      this.#pick([
        `lock *(u${8 * size} *)${place} ${this.#pick(['+=', '|=', '&=', '^='])} r${from}`,
        `${bank}${from} = atomic_fetch_${this.#pick(['add', 'or', 'and', 'xor'])}((u${8 * size} *)${place}, ${bank}${from})`,
        `${bank}${from} = xchg${8 * size} ${place}`,
        // Where states were merged, Linux 6.18 on x86-64 leaves r0's upper half as it was when the
        // words are equal; RFC 9669 says zero. (Found by this test: seed 30551.)
        `cmpxchg${8 * size} ${place}, ${bank}${from}${size === 4 ? '\nw0 = w0' : ''}`,
      ]),
    );
  }

  #jump(left: number): void {
    const bank = this.#pick(['r', 'w']);
    const condition = this.#pick(['==', '!=', '>', '>=', '<', '<=', '&', 's>', 's>=', 's<', 's<=']);
    const operand = this.#below(2) === 0 ? `${bank}${this.#below(6)}` : String(this.#number());
    const label = this.#label();
    this.#lines.push(`if ${bank}${this.#below(6)} ${condition} ${operand} goto ${label}`);
    this.#pending.push({ label, left: 1 + this.#below(Math.min(left, 6)) });
  }

  /** A map operation with one of few keys, so that operations share elements. */
  #map(): void {
    const out = this.#lines;
    const name = this.#pick(['hash', 'array', 'prefixes']);
    if (name === 'prefixes') {
      out.push('w1 &= 31', `*(u32 *)(r10 - ${KEY}) = r1`, `*(u32 *)(r10 - ${KEY - 4}) = r2`);
    } else {
      out.push('w1 &= 7', `*(u32 *)(r10 - ${KEY}) = r1`);
    }
    out.push(`r1 = map ${name}`, 'r2 = r10', `r2 += -${KEY}`);
    const kind = this.#below(4);
    if (kind === 0) {
      out.push('call 3');
    } else if (kind === 1) {
      out.push(
        'r3 = r10',
        `r3 += -${8 * (2 + this.#below(SLOTS - 1))}`,
        `r4 = ${this.#below(4)}`,
        'call 2',
      );
    } else {
      const [none, on] = [this.#label(), this.#label()];
      out.push(
        'call 1',
        `if r0 == 0 goto ${none}`,
        `r1 = *(u64 *)(r10 - ${8 * (1 + this.#below(SLOTS))})`,
      );
      out.push(
        this.#pick([
          'lock *(u64 *)(r0 + 0) += r1',
          '*(u64 *)(r0 + 8) = r1',
          '*(u8 *)(r0 + 3) = r1',
          'r1 = *(u64 *)(r0 + 8)',
        ]),
        'r0 = *(u64 *)(r0 + 0)',
        `goto ${on}`,
        `${none}:`,
        'r0 = 1',
        `${on}:`,
      );
    }
    this.#refill(1);
  }

  /** A function that computes from r1 to r5. */
  #call(): void {
    const label = this.#label();
    const body = Array.from({ length: 1 + this.#below(6) }, () =>
      this.#below(3) === 0 ? this.#unary(6) : this.#arithmetic(6),
    );
    const spill = '*(u64 *)(r10 - 8) = r3';
    this.#functions.push(
      `${label}:`,
      'r0 = r1',
      spill,
      'r6 = r2',
      ...body,
      'r3 = *(u64 *)(r10 - 8)',
    );
    this.#functions.push('r0 ^= r3', 'r0 += r6', 'exit');
    this.#lines.push(`call ${label}`);
    this.#refill(1);
  }

  #checksum(): void {
    const size = () => 4 * this.#below(9);
    this.#lines.push('r5 = r3', 'r1 = r10', `r1 += -${8 * SLOTS}`, `r2 = ${size()}`);
    this.#lines.push('r3 = r10', `r3 += -${8 * SLOTS - 16}`, `r4 = ${size()}`, 'call 28');
    this.#refill(1);
  }

  /** Sets the registers from `first` on, which calls clobber, to numbers from the stack. */
  #refill(first: number): void {
    for (let r = first; r <= 5; r++) this.#lines.push(`r${r} = *(u64 *)(r10 - ${8 * (r + 1)})`);
  }

  #label(): string {
    return `l${this.#labels++}`;
  }

  #below(limit: number): number {
    return this.#random() % limit;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[this.#below(items.length)]!;
  }

  /** Returns 32 bits, signed, often a special value. */
  #number(): number {
    return this.#pick([
      () => this.#pick([0, 1, -1, 2, 0x7fffffff, -0x80000000, 0xff, 0xffff, -2]),
      () => this.#below(256),
      () => this.#random() | 0,
    ])();
  }

  #wide(): string {
    return `0x${this.#random().toString(16)}${this.#random().toString(16).padStart(8, '0')}`;
  }
}

/** Returns a packet of random bytes, many of them equal. */
export function randomPacket(random: Random, length = PACKET): Uint8Array {
  const bytes = new Uint8Array(length);
  const special = [0, 0xff, 0x80, 0x7f, 1];
  for (let i = 0; i < length; i++) {
    const draw = random();
    bytes[i] = draw & 0x100 ? special[(draw >>> 9) % special.length]! : draw;
  }
  return bytes;
}
