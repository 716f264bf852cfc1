/** Instructions without the descriptors of their maps. */
export interface Assembled {
  readonly bytes: Uint8Array;
  /** The slots of 64-bit loads of a map (or of the address of its only value), by name. */
  readonly maps: readonly { readonly at: number; readonly name: string; readonly value: boolean }[];
  /** The first slots of functions, that of the program first. */
  readonly functions: readonly number[];
}

const operators: Readonly<Record<string, readonly [code: number, signed?: boolean]>> = {
  '+=': [0x00],
  '-=': [0x10],
  '*=': [0x20],
  '/=': [0x30],
  's/=': [0x30, true],
  '|=': [0x40],
  '&=': [0x50],
  '<<=': [0x60],
  '>>=': [0x70],
  '%=': [0x90],
  's%=': [0x90, true],
  '^=': [0xa0],
  '=': [0xb0],
  's>>=': [0xc0],
};

const conditions: Readonly<Record<string, number>> = {
  '==': 0x10,
  '>': 0x20,
  '>=': 0x30,
  '&': 0x40,
  '!=': 0x50,
  's>': 0x60,
  's>=': 0x70,
  '<': 0xa0,
  '<=': 0xb0,
  's<': 0xc0,
  's<=': 0xd0,
};

const sizes: Readonly<Record<string, number>> = { u32: 0x00, u16: 0x08, u8: 0x10, u64: 0x18 };
const atomics: Readonly<Record<string, number>> = { add: 0x00, or: 0x40, and: 0x50, xor: 0xa0 };
const lockOperators: Readonly<Record<string, number>> = {
  '+=': 0,
  '|=': 0x40,
  '&=': 0x50,
  '^=': 0xa0,
};

const number = '-?(?:0x[0-9a-f]+|\\d+)';
const memory = '\\(\\s*(?<base>r\\d+)\\s*(?:(?<sign>[+-])\\s*(?<offset>\\d+))?\\s*\\)';

/**
 * Assembles the notation of llvm-objdump: one instruction on a line, `;` also ends one, `#` begins a
 * comment, `name:` is a label. In addition, `map NAME`, `value NAME + N` and `function LABEL` are
 * addresses, and `kfunc N` calls a kernel function by its BTF id.
 */
export function assemble(source: string): Assembled {
  const lines = source
    .split(/[\n;]/)
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
  const labels = new Map<string, number>();
  const statements: { line: string; at: number }[] = [];
  let slots = 0;
  for (const line of lines) {
    const label = /^(\w+):$/.exec(line)?.[1];
    if (label !== undefined) {
      labels.set(label, slots);
      continue;
    }
    statements.push({ line, at: slots });
    slots += /^r\d+ = (map|value|function|.* ll$)/.test(line) ? 2 : 1;
  }
  const bytes = new Uint8Array(slots * 8);
  const view = new DataView(bytes.buffer);
  const maps: { at: number; name: string; value: boolean }[] = [];
  const functions = new Set([0]);
  for (const { line, at } of statements) {
    const put = (code: number, to = 0, from = 0, offset = 0, immediate = 0, slot = at) => {
      view.setUint8(slot * 8, code);
      view.setUint8(slot * 8 + 1, to | (from << 4));
      view.setInt16(slot * 8 + 2, offset, true);
      view.setInt32(slot * 8 + 4, immediate, true);
    };
    const target = (name: string) => {
      const relative = /^[+-]\d+$/.test(name) ? Number(name) : undefined;
      const place = labels.get(name);
      if (relative === undefined && place === undefined)
        throw new Error(`no label ${name}: ${line}`);
      return relative ?? place! - at - 1;
    };
    const wide = (to: number, mark: number, low: number, high: number) => {
      put(0x18, to, mark, 0, low);
      put(0, 0, 0, 0, high, at + 1);
    };
    assembleLine(line, {
      put,
      target,
      wide,
      note: (name, value) => maps.push({ at, name, value }),
      begins: (label) => functions.add(labels.get(label)!),
    });
  }
  return { bytes, maps, functions: [...functions].sort((a, b) => a - b) };
}

interface Output {
  put(code: number, to?: number, from?: number, offset?: number, immediate?: number): void;
  target(label: string): number;
  wide(to: number, mark: number, low: number, high: number): void;
  note(map: string, value: boolean): void;
  begins(label: string): void;
}

const register = (text: string) => Number(text.slice(1));
/** Reads 32 bits, written signed or unsigned. */
const immediate = (text: string) => Number(BigInt.asIntN(32, integer(text)));
const integer = (text: string) => (text.startsWith('-') ? -BigInt(text.slice(1)) : BigInt(text));
const offsetOf = ({ sign, offset }: Record<string, string | undefined>) =>
  offset === undefined ? 0 : Number(`${sign}${offset}`);

type Form = readonly [pattern: RegExp, emit: (out: Output, g: Record<string, string>) => void];

const form = (pattern: string, emit: Form[1]): Form => [new RegExp(`^${pattern}$`), emit];

const forms: readonly Form[] = [
  form('exit', ({ put }) => put(0x95)),
  form('goto (?<label>\\S+)', ({ put, target }, g) => put(0x05, 0, 0, target(g.label!))),
  form('gotol (?<label>\\S+)', ({ put, target }, g) => put(0x06, 0, 0, 0, target(g.label!))),
  form('call (?<id>\\d+)', ({ put }, g) => put(0x85, 0, 0, 0, Number(g.id))),
  form('call kfunc (?<id>\\d+)', ({ put }, g) => put(0x85, 0, 2, 0, Number(g.id))),
  form('call (?<label>\\w+)', ({ put, target, begins }, g) => {
    put(0x85, 0, 1, 0, target(g.label!));
    begins(g.label!);
  }),
  form(
    `if (?<to>[rw]\\d+) (?<cond>\\S+) (?:(?<from>[rw]\\d+)|(?<imm>${number})) goto (?<label>\\S+)`,
    ({ put, target }, g) => {
      const group = g.to!.startsWith('w') ? 6 : 5;
      const code = conditions[g.cond!];
      if (code === undefined) throw new Error(`no condition ${g.cond}`);
      if (g.from) put(code | group | 8, register(g.to!), register(g.from), target(g.label!));
      else put(code | group, register(g.to!), 0, target(g.label!), immediate(g.imm!));
    },
  ),
  form(`(?<to>r\\d+) = (?<imm>${number}) ll`, ({ wide }, g) => {
    const value = integer(g.imm!);
    wide(
      register(g.to!),
      0,
      Number(BigInt.asIntN(32, value)),
      Number(BigInt.asIntN(32, value >> 32n)),
    );
  }),
  form('(?<to>r\\d+) = map (?<name>\\w+)', ({ wide, note }, g) => {
    wide(register(g.to!), 1, 0, 0);
    note(g.name!, false);
  }),
  form('(?<to>r\\d+) = value (?<name>\\w+)(?: \\+ (?<offset>\\d+))?', ({ wide, note }, g) => {
    wide(register(g.to!), 2, 0, Number(g.offset ?? 0));
    note(g.name!, true);
  }),
  form('(?<to>r\\d+) = function (?<label>\\w+)', ({ wide, target, begins }, g) => {
    wide(register(g.to!), 4, target(g.label!), 0);
    begins(g.label!);
  }),
  form('(?<to>[rw]\\d+) = -[rw]\\d+', ({ put }, g) =>
    put(g.to!.startsWith('w') ? 0x84 : 0x87, register(g.to!)),
  ),
  form('(?<to>[rw]\\d+) = \\(s(?<bits>8|16|32)\\)\\s*(?<from>[rw]\\d+)', ({ put }, g) =>
    put(g.to!.startsWith('w') ? 0xbc : 0xbf, register(g.to!), register(g.from!), Number(g.bits)),
  ),
  form('(?<to>r\\d+) = (?<kind>le|be|bswap)(?<bits>16|32|64) r\\d+', ({ put }, g) =>
    put({ le: 0xd4, be: 0xdc, bswap: 0xd7 }[g.kind!]!, register(g.to!), 0, 0, Number(g.bits)),
  ),
  form(
    `r0 = \\*\\((?<size>u\\d+) \\*\\)skb\\[(?:(?<from>r\\d+) \\+ )?(?<imm>${number})\\]`,
    ({ put }, g) =>
      g.from
        ? put(0x40 | sizes[g.size!]!, 0, register(g.from), 0, immediate(g.imm!))
        : put(0x20 | sizes[g.size!]!, 0, 0, 0, immediate(g.imm!)),
  ),
  form(`(?<to>[rw]\\d+) = \\*\\((?<size>[us]\\d+) ?\\*\\)\\s*${memory}`, ({ put }, g) => {
    const signed = g.size!.startsWith('s');
    const code = sizes[g.size!.replace('s', 'u')]! | (signed ? 0x81 : 0x61);
    put(code, register(g.to!), register(g.base!), offsetOf(g));
  }),
  form(
    `\\*\\((?<size>u\\d+) ?\\*\\)\\s*${memory} = (?:(?<from>[rw]\\d+)|(?<imm>${number}))`,
    ({ put }, g) =>
      g.from
        ? put(0x63 | sizes[g.size!]!, register(g.base!), register(g.from), offsetOf(g))
        : put(0x62 | sizes[g.size!]!, register(g.base!), 0, offsetOf(g), immediate(g.imm!)),
  ),
  form(
    `lock \\*\\((?<size>u32|u64) ?\\*\\)\\s*${memory} (?<op>[+|&^]=) (?<from>[rw]\\d+)`,
    ({ put }, g) =>
      put(
        0xc3 | sizes[g.size!]!,
        register(g.base!),
        register(g.from!),
        offsetOf(g),
        lockOperators[g.op!]!,
      ),
  ),
  form(
    `(?<from>[rw]\\d+) = atomic_fetch_(?<op>add|or|and|xor)\\(\\((?<size>u32|u64) ?\\*\\)\\s*${memory}, [rw]\\d+\\)`,
    ({ put }, g) =>
      put(
        0xc3 | sizes[g.size!]!,
        register(g.base!),
        register(g.from!),
        offsetOf(g),
        atomics[g.op!]! | 1,
      ),
  ),
  form(`(?<from>[rw]\\d+) = xchg(?<bits>32|64) ${memory}`, ({ put }, g) =>
    put(g.bits === '64' ? 0xdb : 0xc3, register(g.base!), register(g.from!), offsetOf(g), 0xe1),
  ),
  form(`cmpxchg(?<bits>32|64) ${memory}, (?<from>[rw]\\d+)`, ({ put }, g) =>
    put(g.bits === '64' ? 0xdb : 0xc3, register(g.base!), register(g.from!), offsetOf(g), 0xf1),
  ),
  form(`(?<to>[rw]\\d+) (?<op>\\S*=) (?:(?<from>[rw]\\d+)|(?<imm>${number}))`, ({ put }, g) => {
    const [code, signed] = operators[g.op!] ?? [undefined];
    if (code === undefined) throw new Error(`no operator ${g.op}`);
    const group = g.to!.startsWith('w') ? 4 : 7;
    const offset = signed ? 1 : 0;
    if (g.from) put(code | group | 8, register(g.to!), register(g.from), offset);
    else put(code | group, register(g.to!), 0, offset, immediate(g.imm!));
  }),
];

function assembleLine(line: string, out: Output): void {
  const text = line.replace(/\s+/g, ' ');
  for (const [pattern, emit] of forms) {
    const match = pattern.exec(text);
    if (!match) continue;
    emit(out, (match.groups ?? {}) as Record<string, string>);
    return;
  }
  throw new Error(`no such instruction: ${line}`);
}
