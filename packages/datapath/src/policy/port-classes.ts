import type { PolicyRule, PortRange } from '@heddle/policy';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { policyPortClass } from '../generated/abi.ts';
import { Extents } from '../services/extents.ts';
import type { RuleSet, Vectors } from './vectors.ts';

const protocols = ['TCP', 'UDP', 'SCTP'] as const;
const ports = 65536;
/** The number of words of the map `policy_ports`, with four ports in each. */
export const policyPortWords = (protocols.length * ports) / 4;
/** The class of ports that no rule names, by protocol. */
const others: readonly number[] = [policyPortClass.tcp, policyPortClass.udp, policyPortClass.sctp];
const firstNamed = policyPortClass.first;

/** The ports of a protocol in intervals: number `i` is from `starts[i]` up to the next one. */
interface Intervals {
  readonly starts: number[];
  readonly classes: number[];
}

/**
 * The classes of ports: ports that the same rules name have one class. Rules that name no ports are in the vectors
 * of all classes, and those of all ports of a protocol in all of that protocol. What an earlier agent has written
 * counts like rules until `remove`.
 */
export class PortClasses {
  readonly #ports: ArrayMemory;
  readonly #vectors: Vectors;
  readonly #numbers: Extents;
  readonly #protocols: readonly Intervals[];

  /** `ports`: the map `policy_ports`, `vectors`: those of `port_vectors`. `now` is a monotonic clock in nanoseconds. */
  constructor(ports: ArrayMemory, vectors: Vectors, now: () => bigint) {
    this.#ports = ports;
    this.#vectors = vectors;
    this.#numbers = new Extents(vectors.length, now);
    this.#numbers.reserve(0, firstNamed);
    this.#protocols = protocols.map((_name, i) => this.#read(i));
    for (const used of new Set(this.#protocols.flatMap(({ classes }) => classes))) {
      if (used >= firstNamed) this.#numbers.reserve(used, 1);
    }
  }

  /** Removes classes that the vectors have no room for any more. To be called before the other methods that write. */
  start(): void {
    const all = this.#all();
    for (const [at, value] of all.entries()) {
      if (value < this.#vectors.length) continue;
      all[at] = 0;
      this.#ports.wrote(2 * at, 2);
    }
  }

  /** The number of classes, the fixed ones included. */
  get used(): number {
    return this.#numbers.used;
  }

  /** Returns the numbers of all classes. */
  get classes(): ReadonlySet<number> {
    const named = this.#protocols.flatMap(({ classes }) => classes);
    return new Set([policyPortClass.other, ...others, ...named]);
  }

  /** Returns the class of a port, host order. */
  classOf(protocol: PortRange['protocol'], port: number): number {
    const intervals = this.#protocols[protocols.indexOf(protocol)]!;
    return intervals.classes[indexAt(intervals.starts, port)]!;
  }

  /**
   * Adds a rule, which has a number that no subject has. Returns false if there is no room for the classes that it needs;
   * the number may be in some vectors then.
   */
  add({ ports: named }: PolicyRule, number: number): boolean {
    if (!named) {
      for (const each of this.classes) this.#vectors.add(each, [number]);
      return true;
    }
    return protocols.every((protocol, i) => {
      const ranges = joined(named.filter((range) => range.protocol === protocol));
      if (ranges.length === 0) return true;
      if (ranges.some(isWhole)) {
        const classes = new Set([others[i]!, ...this.#protocols[i]!.classes]);
        for (const each of classes) this.#vectors.add(each, [number]);
        return true;
      }
      return this.#addRanges(i, ranges, number);
    });
  }

  /** Removes rules that no program can find any more, and joins classes that have the same rules then. */
  remove(rules: RuleSet): void {
    this.#vectors.remove(policyPortClass.other, rules);
    this.#protocols.forEach(({ classes }, i) => {
      const all = new Set([others[i]!, ...classes]);
      let isChanged = false;
      for (const each of all) if (this.#vectors.remove(each, rules)) isChanged = true;
      if (isChanged) this.#join(i, all);
    });
  }

  #addRanges(protocol: number, ranges: readonly Span[], number: number): boolean {
    const intervals = this.#protocols[protocol]!;
    for (const { first, last } of ranges) {
      split(intervals, first);
      split(intervals, last + 1);
    }
    /** The intervals of each class that the rule names. */
    const named = new Map<number, number[]>();
    const counts = new Map<number, number>();
    for (const each of intervals.classes) counts.set(each, (counts.get(each) ?? 0) + 1);
    for (const { first, last } of ranges) {
      for (
        let at = indexAt(intervals.starts, first);
        (intervals.starts[at] ?? ports) <= last;
        at++
      ) {
        const each = intervals.classes[at]!;
        const list = named.get(each);
        if (list) list.push(at);
        else named.set(each, [at]);
      }
    }
    for (const [each, at] of named) {
      if (each !== others[protocol] && at.length === counts.get(each)) {
        this.#vectors.add(each, [number]);
        continue;
      }
      const created = this.#numbers.allocate(1);
      if (created === undefined) return false;
      const rules = this.#vectors.rules(each);
      rules.add(number);
      this.#vectors.write(created, rules);
      for (const index of at) this.#setClass(protocol, index, created);
    }
    return true;
  }

  /** Gives ports whose classes have the same rules one class. */
  #join(protocol: number, classes: ReadonlySet<number>): void {
    const intervals = this.#protocols[protocol]!;
    const same = new Map<string, number>();
    const replaced = new Map<number, number>();
    for (const each of classes) {
      const content = this.#vectors.content(each);
      const known = same.get(content);
      if (known === undefined) same.set(content, each);
      else replaced.set(each, known);
    }
    if (replaced.size > 0) {
      intervals.classes.forEach((each, index) => {
        const other = replaced.get(each);
        if (other !== undefined) this.#setClass(protocol, index, other);
      });
      for (const each of replaced.keys()) this.#numbers.release(each, 1);
    }
    for (let i = intervals.starts.length - 1; i > 0; i--) {
      if (intervals.classes[i] !== intervals.classes[i - 1]) continue;
      intervals.starts.splice(i, 1);
      intervals.classes.splice(i, 1);
    }
  }

  #setClass(protocol: number, index: number, number: number): void {
    const { starts, classes } = this.#protocols[protocol]!;
    classes[index] = number;
    const [first, end] = [starts[index]!, starts[index + 1] ?? ports];
    const at = protocol * ports;
    // 0 stands for the class of ports that no rule names.
    this.#all().fill(number === others[protocol] ? 0 : number, at + first, at + end);
    this.#ports.wrote(2 * (at + first), 2 * (end - first));
  }

  #read(protocol: number): Intervals {
    const all = this.#all().subarray(protocol * ports, (protocol + 1) * ports);
    const intervals: Intervals = { starts: [], classes: [] };
    let before: number | undefined;
    all.forEach((value, port) => {
      if (value === before) return;
      before = value;
      intervals.starts.push(port);
      // A class that the map of an earlier agent had room for is of ports that no rule names.
      const isKnown = value >= firstNamed && value < this.#vectors.length;
      intervals.classes.push(isKnown ? value : others[protocol]!);
    });
    return intervals;
  }

  #all(): Uint16Array {
    const bytes = this.#ports.first(this.#ports.length);
    return new Uint16Array(bytes.buffer, bytes.byteOffset, protocols.length * ports);
  }
}

interface Span {
  readonly first: number;
  readonly last: number;
}

/** Returns ranges in ascending order that do not overlap. */
function joined(ranges: readonly Span[]): Span[] {
  const sorted = [...ranges].sort((a, b) => a.first - b.first);
  const spans: { first: number; last: number }[] = [];
  for (const { first, last } of sorted) {
    const before = spans.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else spans.push({ first, last });
  }
  return spans;
}

/** Returns true for all ports of a protocol; nothing listens on port 0. */
function isWhole({ first, last }: Span): boolean {
  return first <= 1 && last === ports - 1;
}

/** Returns the index of the interval that has a port. */
function indexAt(starts: readonly number[], port: number): number {
  let [low, high] = [0, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= port) low = middle;
    else high = middle;
  }
  return low;
}

/** Has an interval begin at a port. */
function split({ starts, classes }: Intervals, port: number): void {
  if (port >= ports) return;
  const at = indexAt(starts, port);
  if (starts[at] === port) return;
  starts.splice(at + 1, 0, port);
  classes.splice(at + 1, 0, classes[at]!);
}
