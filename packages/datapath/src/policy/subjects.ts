import type { DenyResponse } from '@heddle/objects';
import type { Direction } from '@heddle/policy';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { decodePolicySubject, policySubjectSize } from '../generated/abi.ts';
import { graceNs } from '../services/extents.ts';
import { closedSubject, ownResponseCode, responseShift, subjectFlags } from './constants.ts';
import { RuleSet, Vectors, vectorWords } from './vectors.ts';

/** The content of a subject: two subjects with the same text are the same. */
export interface SubjectContent {
  readonly direction: Direction;
  /** The numbers of its rules. */
  readonly numbers: readonly number[];
  readonly isIsolated: boolean;
  /** The response to what no rule allows, or undefined if it is that of `policy_state`. */
  readonly denyResponse?: DenyResponse | undefined;
  /** The index of the subject with the policies in audit mode, too; 0: there are none. */
  readonly audit: number;
  /** It is such a subject itself, so that what it denies is recorded only. */
  readonly isAudit: boolean;
}

interface Entry {
  /** Undefined for a subject of an earlier agent. */
  readonly direction: Direction | undefined;
  readonly isAudit: boolean;
  readonly rules: RuleSet;
  readonly audit: number;
  readonly text: string;
  /** The number of pods' directions, and of subjects, that have it. */
  uses: number;
  /** The time at which the last one was gone, by a monotonic clock in nanoseconds. */
  retiredNs: bigint;
}

/** The offset of the flags, which `audit` follows, and that of the count of connections that no rule has allowed. */
const [tailAt, deniedAt] = [vectorWords * 4, vectorWords * 4 + 8];
const firstFree = closedSubject + 1;
/** The fields of a subject of an earlier agent that no pod has. */
const unused = { direction: undefined, isAudit: false, text: '', uses: 0 } as const;

/** The map `policy_subjects`. A subject without a pod is free after 100 ms, when no program can still read it. */
export class Subjects {
  readonly #memory: ArrayMemory;
  readonly #vectors: Vectors;
  readonly #now: () => bigint;
  readonly #entries = new Map<number, Entry>();
  readonly #byText = new Map<string, number>();
  /** The connections that freed subjects have not allowed. */
  readonly #denied = { egress: 0n, ingress: 0n };
  /** Those that freed subjects with the policies in audit mode would not have allowed. */
  readonly #wouldDeny = { egress: 0n, ingress: 0n };

  /** Takes over what an earlier agent has written, without uses. */
  constructor(memory: ArrayMemory, now: () => bigint) {
    this.#memory = memory;
    this.#vectors = new Vectors(memory, policySubjectSize);
    this.#now = now;
    const bytes = memory.first(0);
    const count = Math.min(memory.length, Math.floor(bytes.length / policySubjectSize));
    for (let index = firstFree; index < count; index++) {
      const { audit, flags } = decodePolicySubject(bytes, index * policySubjectSize);
      const rules = this.#vectors.rules(index);
      if (flags === 0 && audit === 0 && rules.isEmpty) continue;
      this.#entries.set(index, { ...{ rules, audit }, ...unused, retiredNs: this.#now() });
    }
  }

  /** The number of indexes that are not free. */
  get used(): number {
    return this.#entries.size;
  }

  /** Writes the closed subject. To be called before pods get subjects. */
  start(): void {
    this.#write(closedSubject, new RuleSet(), subjectFlags.closed, 0);
  }

  /** Returns the index of a subject, which is written if there is none like it; undefined without room. */
  indexOf(content: SubjectContent): number | undefined {
    const { direction, numbers, isIsolated, denyResponse, audit, isAudit } = content;
    const flags =
      (isIsolated ? subjectFlags.isolated : 0) | (ownResponseCode(denyResponse) << responseShift);
    const text = `${direction} ${numbers.join()} ${flags} ${audit} ${isAudit}`;
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    let index = firstFree;
    while (this.#entries.has(index)) index++;
    if (index >= this.#memory.length) return undefined;
    const rules = RuleSet.of(numbers);
    this.#write(index, rules, flags, audit);
    this.#entries.set(index, {
      ...{ direction, isAudit, rules, audit, text, uses: 0 },
      retiredNs: this.#now(),
    });
    this.#byText.set(text, index);
    if (audit !== 0) this.use(audit);
    return index;
  }

  /** Takes note that a pod has a subject. */
  use(index: number): void {
    if (index < firstFree) return;
    const entry = this.#entries.get(index);
    if (entry) entry.uses++;
    // A subject of an earlier agent without rules, or one that its map had room for.
    else
      this.#entries.set(index, {
        ...{ rules: new RuleSet(), audit: 0 },
        ...unused,
        uses: 1,
        retiredNs: 0n,
      });
  }

  /** Takes note that a pod has a subject no longer. */
  drop(index: number): void {
    const entry = this.#entries.get(index);
    if (!entry || --entry.uses > 0) return;
    entry.retiredNs = this.#now();
    this.#byText.delete(entry.text);
  }

  /** Returns the rules of all subjects that pods have. */
  held(): RuleSet {
    return this.#union(({ uses }) => uses > 0);
  }

  /** Returns the rules of all subjects that programs may still read. */
  readable(): RuleSet {
    return this.#union(() => true);
  }

  /** Frees subjects that no pod has had for 100 ms. Returns true if there were some. */
  sweep(): boolean {
    const until = this.#now() - graceNs;
    let isFreed = false;
    for (const [index, { direction, isAudit, uses, retiredNs, audit, text }] of this.#entries) {
      if (uses > 0 || retiredNs > until) continue;
      isFreed = true;
      const gone = isAudit ? this.#wouldDeny : this.#denied;
      if (direction) gone[direction] += this.#deniedOf(index);
      this.#entries.delete(index);
      if (this.#byText.get(text) === index) this.#byText.delete(text);
      if (audit !== 0) this.drop(audit);
    }
    return isFreed;
  }

  /** The time at which a subject without pods is free, by the monotonic clock; undefined if there is none. */
  get nextFreeNs(): bigint | undefined {
    let first: bigint | undefined;
    for (const { uses, retiredNs } of this.#entries.values()) {
      if (uses === 0 && (first === undefined || retiredNs < first)) first = retiredNs;
    }
    return first === undefined ? undefined : first + graceNs;
  }

  /** Returns the number of connections that no rule has allowed, by direction, since the agent's start. */
  denied(): Record<Direction, bigint> {
    return this.#sum(this.#denied, ({ isAudit }) => !isAudit);
  }

  /** Returns the number of connections that no rule would have allowed with the policies in audit mode. */
  wouldDeny(): Record<Direction, bigint> {
    return this.#sum(this.#wouldDeny, ({ isAudit }) => isAudit);
  }

  #sum(
    gone: Readonly<Record<Direction, bigint>>,
    isWanted: (entry: Entry) => boolean,
  ): Record<Direction, bigint> {
    const all = { ...gone };
    for (const [index, entry] of this.#entries) {
      const { direction } = entry;
      if (direction && isWanted(entry)) all[direction] += this.#deniedOf(index);
    }
    return all;
  }

  #deniedOf(index: number): bigint {
    const bytes = this.#memory.first(index + 1);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return view.getBigUint64(index * policySubjectSize + deniedAt, true);
  }

  #union(isWanted: (entry: Entry) => boolean): RuleSet {
    const all = new RuleSet();
    for (const entry of this.#entries.values()) {
      if (!isWanted(entry)) continue;
      entry.rules.words.forEach((word, i) => {
        all.words[i]! |= word;
      });
    }
    return all;
  }

  #write(index: number, rules: RuleSet, flags: number, audit: number): void {
    this.#vectors.write(index, rules);
    const bytes = this.#memory.first(index + 1);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const at = index * policySubjectSize;
    view.setUint32(at + tailAt, flags, true);
    view.setUint32(at + tailAt + 4, audit, true);
    this.#memory.wrote(at + tailAt, 8);
    view.setBigUint64(at + deniedAt, 0n, true);
  }
}
