import type { ArrayMemory } from '../core/mapped-array.ts';

/** The number of rules that a vector has room for (POLICY_RULES in bpf/abi/policy.h). */
export const policyRules = 4096;

const wordBits = 64;
/** A vector in words of 32 bits: the summary, then the bits of the rules. */
const summaryWords = 2;
const ruleWords = policyRules / 32;
export const vectorWords = summaryWords + ruleWords;

/** A set of rule numbers. */
export class RuleSet {
  readonly words = new Uint32Array(ruleWords);

  static of(numbers: Iterable<number>): RuleSet {
    const set = new RuleSet();
    for (const number of numbers) set.add(number);
    return set;
  }

  get isEmpty(): boolean {
    return this.words.every((word) => word === 0);
  }

  has(number: number): boolean {
    return (this.words[number >>> 5]! & bitOf(number)) !== 0;
  }

  add(number: number): void {
    this.words[number >>> 5]! |= bitOf(number);
  }

  delete(number: number): void {
    this.words[number >>> 5]! &= ~bitOf(number);
  }

  /** Deletes what another set does not have. */
  intersect(other: RuleSet): void {
    other.words.forEach((word, i) => {
      this.words[i]! &= word;
    });
  }

  /** Returns the numbers in ascending order. */
  *[Symbol.iterator](): Generator<number> {
    for (let word = 0; word < ruleWords; word++) {
      for (let rest = this.words[word]!; rest !== 0; rest &= rest - 1) {
        yield word * 32 + 31 - Math.clz32(rest & -rest);
      }
    }
  }
}

/**
 * Vectors of rules in the memory of an array map: struct policy_vector, or a struct that begins with it. Programs
 * read them at any time, so each bit is written at once.
 */
export class Vectors {
  readonly #memory: ArrayMemory;
  /** The size of an element in words of 32 bits. */
  readonly #stride: number;
  #bytes: Uint8Array | undefined;
  #words: Uint32Array = new Uint32Array(0);

  /** `size`: bytes of an element. */
  constructor(memory: ArrayMemory, size: number) {
    this.#memory = memory;
    this.#stride = size / 4;
  }

  get length(): number {
    return this.#memory.length;
  }

  has(index: number, number: number): boolean {
    return (this.#at(index, number >>> 5) & bitOf(number)) !== 0;
  }

  /** Returns the rules of a vector. */
  rules(index: number): RuleSet {
    const set = new RuleSet();
    const words = this.#view(index);
    const start = index * this.#stride + summaryWords;
    set.words.set(words.subarray(start, start + ruleWords));
    return set;
  }

  /** Adds rules to a vector. */
  add(index: number, numbers: Iterable<number>): void {
    const words = this.#view(index);
    const start = index * this.#stride;
    for (const number of numbers) {
      words[start + summaryWords + (number >>> 5)]! |= bitOf(number);
      const group = Math.floor(number / wordBits);
      words[start + (group >>> 5)]! |= bitOf(group);
    }
    this.#wrote(index);
  }

  /** Writes a whole vector, which no program reads yet. */
  write(index: number, rules: RuleSet): void {
    const words = this.#view(index);
    const start = index * this.#stride;
    words.fill(0, start, start + summaryWords);
    words.set(rules.words, start + summaryWords);
    for (let group = 0; group < policyRules / wordBits; group++) {
      if (rules.words[2 * group]! | rules.words[2 * group + 1]!) {
        words[start + (group >>> 5)]! |= bitOf(group);
      }
    }
    this.#wrote(index);
  }

  /** Removes rules from a vector. Returns false if it has none of them. */
  remove(index: number, rules: RuleSet): boolean {
    const words = this.#view(index);
    const start = index * this.#stride;
    let removed = false;
    for (let i = 0; i < ruleWords; i++) {
      const at = start + summaryWords + i;
      if ((words[at]! & rules.words[i]!) === 0) continue;
      removed = true;
      words[at]! &= ~rules.words[i]!;
      const other = start + summaryWords + (i ^ 1);
      const group = i >>> 1;
      if (words[at] === 0 && words[other] === 0) words[start + (group >>> 5)]! &= ~bitOf(group);
    }
    if (removed) this.#wrote(index);
    return removed;
  }

  /** Returns a text that is equal for vectors with the same rules only. */
  content(index: number): string {
    const words = this.#view(index);
    const start = index * this.#stride + summaryWords;
    let text = '';
    for (let i = 0; i < ruleWords; i++) {
      const word = words[start + i]!;
      if (word !== 0) text += `${i}:${word} `;
    }
    return text;
  }

  #at(index: number, word: number): number {
    return this.#view(index)[index * this.#stride + summaryWords + word]!;
  }

  /** Returns the words of the memory, at least up to those of an element. */
  #view(index: number): Uint32Array {
    const bytes = this.#memory.first(index + 1);
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
    }
    return this.#words;
  }

  #wrote(index: number): void {
    this.#memory.wrote(index * this.#stride * 4, vectorWords * 4);
  }
}

function bitOf(number: number): number {
  return 1 << (number & 31);
}
