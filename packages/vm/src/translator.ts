import * as arithmetic from './arithmetic.ts';
import { STRIDE } from './instructions.ts';
import type { Machine, Program, Translated } from './machine.ts';

/**
 * Translates a program to JavaScript: a function for each of its functions, by the slot of its first
 * instruction. Registers are local variables, a pair of 32-bit words each (`r3`, `h3`). They are copied to
 * the machine's registers only for calls. Blocks are the cases of a switch, so jumps set `pc`. Returns
 * undefined where the engine can't compile code from text.
 */
export function translate(
  machine: Machine,
  program: Program,
): ReadonlyMap<number, Translated> | undefined {
  const entries = functionSlots(program);
  const body = entries.map((slot) => functionText(program.code, slot)).join('\n');
  const list = entries.map((slot) => `[${slot}, f${slot}]`).join(', ');
  const text = `'use strict';
const { registers: R, memory: { views, writable } } = m;
const { calls } = P;
const { ${Object.keys(arithmetic).join(', ')} } = A;
${body}
return new Map([${list}]);`;
  try {
    return new Function('m', 'P', 'A', text)(machine, program, arithmetic);
  } catch (error) {
    if (error instanceof EvalError) return undefined;
    throw error;
  }
}

/** Returns the slots where functions begin: the program, those that it calls or takes the address of. */
function functionSlots({ code, codeRegion }: Program): number[] {
  const slots = new Set([0]);
  for (let pc = 0; pc < code.length; pc += STRIDE) {
    const operation = code[pc]! & 0xfff;
    if (operation === 0x185) slots.add(code[pc + 1]! / STRIDE);
    if (operation === 0x18 && codeRegion !== 0 && code[pc + 3] === codeRegion)
      slots.add(code[pc + 2]!);
  }
  return [...slots];
}

const isJump = (operation: number) => {
  const group = operation & 7;
  return (
    operation < 0x100 && (group === 5 || group === 6) && operation !== 0x85 && operation !== 0x95
  );
};

/** Returns the slots of the reachable instructions of a function, ascending, and those that begin blocks. */
function reach(code: Int32Array, slot: number): { places: number[]; starts: Set<number> } {
  const seen = new Set<number>();
  const starts = new Set([slot * STRIDE]);
  const waiting = [slot * STRIDE];
  for (let pc = waiting.pop(); pc !== undefined; pc = waiting.pop()) {
    while (!seen.has(pc)) {
      seen.add(pc);
      const operation = code[pc]! & 0xfff;
      if (operation === 0x95) break;
      if (isJump(operation)) {
        const target = code[pc + 1]!;
        starts.add(target);
        waiting.push(target);
        if (operation === 0x05) break;
        starts.add(pc + STRIDE);
      }
      pc += operation === 0x18 ? 2 * STRIDE : STRIDE;
    }
  }
  return { places: [...seen].sort((a, b) => a - b), starts };
}

function functionText(code: Int32Array, slot: number): string {
  const { places, starts } = reach(code, slot);
  const lines: string[] = [];
  places.forEach((pc, i) => {
    const before = i === 0 ? undefined : places[i - 1]!;
    // Execution must not fall into a slot that is not the next instruction.
    const follows =
      before !== undefined &&
      pc === before + ((code[before]! & 0xfff) === 0x18 ? 2 * STRIDE : STRIDE);
    if (!follows && before !== undefined) starts.add(pc);
    if (starts.has(pc)) {
      let length = 1;
      while (i + length < places.length && !starts.has(places[i + length]!)) length++;
      lines.push(`case ${pc}: if((left-=${length})<0)left=m.refill(P,${pc})-${length};`);
    }
    lines.push(instruction(code, pc));
  });
  return `function f${slot}() {
let r0=0,h0=0,r1=R[2],h1=R[3],r2=R[4],h2=R[5],r3=R[6],h3=R[7],r4=R[8],h4=R[9],r5=R[10],h5=R[11];
let r6=0,h6=0,r7=0,h7=0,r8=0,h8=0,r9=0,h9=0,t=0,at=0,left=m.left,v,p;
const r10=R[20],h10=R[21];
for (let pc=${slot * STRIDE};;) switch (pc) {
${lines.join('\n')}
}
}`;
}

/** Copies registers to those of the machine, and back. */
const save = (...registers: number[]) =>
  registers.map((n) => `R[${2 * n}]=r${n};R[${2 * n + 1}]=h${n};`).join('');
const restore = (...registers: number[]) =>
  registers.map((n) => `r${n}=R[${2 * n}];h${n}=R[${2 * n + 1}];`).join('');
/** The code before and after a call. The called function counts instructions, too. */
const handOver = `${save(1, 2, 3, 4, 5)}m.left=left;`;
const takeBack = `${restore(0)}left=m.left;`;

function instruction(code: Int32Array, pc: number): string {
  const w = code[pc]!;
  const operation = w & 0xfff;
  const d = ((w >>> 12) & 0xff) / 2;
  const s = (w >>> 20) / 2;
  const isRegister = (w & 8) !== 0;
  const b = isRegister ? `r${s}` : `(${code[pc + 2]})`;
  const bh = isRegister ? `h${s}` : `(${code[pc + 3]})`;
  if (operation >= 0x100) return special(code, pc, operation, d, s, b, bh);
  switch (operation & 7) {
    case 7:
      return wide(operation >> 4, d, b, bh, isRegister ? undefined : code[pc + 2]!);
    case 4:
      return `${narrow(operation >> 4, `r${d}`, b)}h${d}=0;`;
    case 5:
    case 6:
      return jump(code, pc, operation, d, b, bh);
    case 1:
      return load(code, pc, operation, d, s);
    case 2:
    case 3:
      return store(code, pc, operation, d, s);
    default:
      if (operation === 0x18) return `r${d}=${code[pc + 2]};h${d}=${code[pc + 3]};`;
      // The legacy packet access: it ends the function outside of the packet.
      return `${save(s)}if(!m.loadPacket(P,${pc},${operation},${2 * s})){R[0]=0;R[1]=0;m.left=left;return;}${restore(0)}`;
  }
}

/** Calls a function of arithmetic.ts with the machine's registers. */
const called = (name: string, d: number, ...operands: string[]) =>
  `${save(d)}${name}(R,${2 * d},${operands.join(',')});${restore(d)}`;

function wide(
  kind: number,
  d: number,
  b: string,
  bh: string,
  immediate: number | undefined,
): string {
  const r = `r${d}`;
  const h = `h${d}`;
  const n = immediate ?? 0;
  const shifts = immediate !== undefined;
  switch (kind) {
    case 0x0:
      return `t=(${r}+${b})|0;${h}=(${h}+${bh}+(t>>>0<${r}>>>0?1:0))|0;${r}=t;`;
    case 0x1:
      return `t=(${r}-${b})|0;${h}=(${h}-${bh}-(${r}>>>0<${b}>>>0?1:0))|0;${r}=t;`;
    case 0x2:
      return called('multiply', d, b, bh);
    case 0x3:
      return called('divide', d, b, bh);
    case 0x4:
      return `${r}|=${b};${h}|=${bh};`;
    case 0x5:
      return `${r}&=${b};${h}&=${bh};`;
    case 0x6:
      if (!shifts) return called('shiftLeft', d, b);
      if (n === 0) return '';
      return n < 32
        ? `${h}=(${h}<<${n})|(${r}>>>${32 - n});${r}=${r}<<${n};`
        : `${h}=${r}<<${n - 32};${r}=0;`;
    case 0x7:
      if (!shifts) return called('shiftRight', d, b);
      if (n === 0) return '';
      return n < 32
        ? `${r}=(${r}>>>${n})|(${h}<<${32 - n});${h}=(${h}>>>${n})|0;`
        : `${r}=(${h}>>>${n - 32})|0;${h}=0;`;
    case 0x8:
      return `${h}=(-${h}-(${r}===0?0:1))|0;${r}=(-${r})|0;`;
    case 0x9:
      return called('remainder', d, b, bh);
    case 0xa:
      return `${r}^=${b};${h}^=${bh};`;
    case 0xb:
      return `${r}=${b};${h}=${bh};`;
    default:
      if (!shifts) return called('shiftRightSigned', d, b);
      if (n === 0) return '';
      return n < 32
        ? `${r}=(${r}>>>${n})|(${h}<<${32 - n});${h}=${h}>>${n};`
        : `${r}=${h}>>${n - 32};${h}=${h}>>31;`;
  }
}

function narrow(kind: number, r: string, b: string): string {
  switch (kind) {
    case 0x0:
      return `${r}=(${r}+${b})|0;`;
    case 0x1:
      return `${r}=(${r}-${b})|0;`;
    case 0x2:
      return `${r}=Math.imul(${r},${b});`;
    case 0x3:
      return `${r}=divide32(${r},${b})|0;`;
    case 0x4:
      return `${r}|=${b};`;
    case 0x5:
      return `${r}&=${b};`;
    case 0x6:
      return `${r}=${r}<<${b};`;
    case 0x7:
      return `${r}=(${r}>>>${b})|0;`;
    case 0x8:
      return `${r}=(-${r})|0;`;
    case 0x9:
      return `${r}=remainder32(${r},${b})|0;`;
    case 0xa:
      return `${r}^=${b};`;
    case 0xb:
      return `${r}=${b};`;
    default:
      return `${r}=${r}>>${b};`;
  }
}

function special(
  code: Int32Array,
  pc: number,
  operation: number,
  d: number,
  s: number,
  b: string,
  bh: string,
): string {
  const r = `r${d}`;
  const h = `h${d}`;
  const from = `r${s}`;
  switch (operation) {
    case 0x134:
    case 0x13c:
      return `${r}=divideSigned32(${r},${b})|0;${h}=0;`;
    case 0x194:
    case 0x19c:
      return `${r}=remainderSigned32(${r},${b})|0;${h}=0;`;
    case 0x137:
    case 0x13f:
      return called('divideSigned', d, b, bh);
    case 0x197:
    case 0x19f:
      return called('remainderSigned', d, b, bh);
    case 0x1a0:
      return `${r}=(${from}<<24)>>24;${h}=${r}>>31;`;
    case 0x1a1:
      return `${r}=(${from}<<16)>>16;${h}=${r}>>31;`;
    case 0x1a2:
      return `${r}=${from};${h}=${r}>>31;`;
    case 0x1a4:
      return `${r}=(${from}<<24)>>24;${h}=0;`;
    case 0x1a5:
      return `${r}=(${from}<<16)>>16;${h}=0;`;
    case 0x1d0:
      return `${r}&=65535;${h}=0;`;
    case 0x1d1:
      return `${h}=0;`;
    case 0x1d2:
      return '';
    case 0x1d4:
      return `${r}=swap16(${r});${h}=0;`;
    case 0x1d5:
      return `${r}=swap32(${r})|0;${h}=0;`;
    case 0x1d6:
      return `t=${r};${r}=swap32(${h})|0;${h}=swap32(t)|0;`;
    case 0x185:
      return `${handOver}m.enter(P,${pc},${pc + STRIDE});f${code[pc + 1]! / STRIDE}();m.leave();${takeBack}`;
    default:
      // A tail call: the end of the next program is the end of this function.
      return `${handOver}p=m.tailCall(P,${pc});if(p!==undefined){m.execute(p,0);return;}`;
  }
}

function load(code: Int32Array, pc: number, operation: number, d: number, s: number): string {
  const size = [4, 2, 1, 8][(operation >> 3) & 3]!;
  const slow = `${save(s)}m.load(P,${pc},${2 * s},${size},${2 * d});${restore(d)}`;
  if ((operation & 0xe0) === 0x80) {
    const shift = 32 - 8 * size;
    return `${slow}r${d}=(r${d}<<${shift})>>${shift};h${d}=r${d}>>31;`;
  }
  const read = {
    1: `r${d}=v.getUint8(at);h${d}=0;`,
    2: `r${d}=v.getUint16(at,true);h${d}=0;`,
    4: `r${d}=v.getInt32(at,true);h${d}=0;`,
    8: `r${d}=v.getInt32(at,true);h${d}=v.getInt32(at+4,true);`,
  }[size];
  return `v=views[h${s}];at=(r${s}>>>0)+${code[pc + 1]};if(v!==undefined&&at>=0&&at+${size}<=v.byteLength){${read}}else{${slow}}`;
}

function store(code: Int32Array, pc: number, operation: number, d: number, s: number): string {
  const group = operation & 7;
  if (group === 3 && (operation & 0xe0) === 0xc0) {
    const size = operation === 0xdb ? 8 : 4;
    const registers = [...new Set([0, d, s])];
    const changed = [...new Set([0, s])].filter((register) => register !== 10);
    return `${save(...registers)}at=m.locate(P,${pc},${2 * d},${size});atomic${8 * size}(writable[h${d}],at,${code[pc + 2]},R,${2 * s});${restore(...changed)}`;
  }
  const size = [4, 2, 1, 8][(operation >> 3) & 3]!;
  const low = group === 3 ? `r${s}` : `${code[pc + 2]}`;
  const high = group === 3 ? `h${s}` : `${code[pc + 3]}`;
  const write = {
    1: `v.setInt8(at,${low});`,
    2: `v.setInt16(at,${low},true);`,
    4: `v.setInt32(at,${low},true);`,
    8: `v.setInt32(at,${low},true);v.setInt32(at+4,${high},true);`,
  }[size];
  const slow = `${save(d)}m.store(P,${pc},${2 * d},${size},${low},${size === 8 ? high : 0});`;
  return `v=writable[h${d}];at=(r${d}>>>0)+${code[pc + 1]};if(v!==undefined&&at>=0&&at+${size}<=v.byteLength){${write}}else{${slow}}`;
}

function jump(
  code: Int32Array,
  pc: number,
  operation: number,
  d: number,
  b: string,
  bh: string,
): string {
  if (operation === 0x95) return 'R[0]=r0;R[1]=h0;m.left=left;return;';
  if (operation === 0x85) {
    return `${handOver}m.program=P;m.pc=${pc};calls[${code[pc + 2]}](m);${takeBack}`;
  }
  const go = `{pc=${code[pc + 1]};continue;}`;
  if (operation === 0x05) return go;
  const r = `r${d}`;
  const h = `h${d}`;
  const below = (a: string, ah: string, c: string, ch: string) =>
    `(${ah}===${ch}?${a}>>>0<${c}>>>0:${ah}>>>0<${ch}>>>0)`;
  const less = (a: string, ah: string, c: string, ch: string) =>
    `(${ah}===${ch}?${a}>>>0<${c}>>>0:${ah}<${ch})`;
  const isWide = (operation & 7) === 5;
  const kind = operation >> 4;
  const conditions: Readonly<Record<number, readonly [wide: string, narrow: string]>> = {
    1: [`${r}===${b}&&${h}===${bh}`, `${r}===${b}`],
    2: [below(b, bh, r, h), `${r}>>>0>${b}>>>0`],
    3: [`!${below(r, h, b, bh)}`, `${r}>>>0>=${b}>>>0`],
    4: [`((${r}&${b})|(${h}&${bh}))!==0`, `(${r}&${b})!==0`],
    5: [`${r}!==${b}||${h}!==${bh}`, `${r}!==${b}`],
    6: [less(b, bh, r, h), `${r}>${b}`],
    7: [`!${less(r, h, b, bh)}`, `${r}>=${b}`],
    10: [below(r, h, b, bh), `${r}>>>0<${b}>>>0`],
    11: [`!${below(b, bh, r, h)}`, `${r}>>>0<=${b}>>>0`],
    12: [less(r, h, b, bh), `${r}<${b}`],
    13: [`!${less(b, bh, r, h)}`, `${r}<=${b}`],
  };
  return `if(${conditions[kind]![isWide ? 0 : 1]})${go}`;
}
