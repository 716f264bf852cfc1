import type { DenyResponse } from '@heddle/objects';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { decodePolicyState, encodePolicyState, policyStateSize } from '../generated/abi.ts';
import { responseCode } from './constants.ts';
import { tierWords } from './rule-numbers.ts';

/** The map `policy_state`. */
export class PolicyStateTable {
  readonly #memory: ArrayMemory;

  constructor(memory: ArrayMemory) {
    this.#memory = memory;
  }

  /** Sets where the tiers begin. */
  start(): void {
    this.#write({ networkWord: tierWords.NetworkPolicy, baselineWord: tierWords.Baseline });
  }

  setOptions(keepsOpen: boolean, response: DenyResponse): void {
    this.#write({
      keepsOpen: keepsOpen ? 1 : 0,
      denyResponse: responseCode(response),
    });
  }

  setWatched(watched: boolean): void {
    this.#write({ watched: watched ? 1 : 0 });
  }

  /** Has each open connection decided again at its next packet. */
  nextEpoch(): void {
    this.#write({ epoch: (this.#read().epoch + 1) >>> 0 || 1 });
  }

  #read() {
    return decodePolicyState(this.#memory.first(1));
  }

  #write(changes: Partial<ReturnType<typeof decodePolicyState>>): void {
    const bytes = new Uint8Array(policyStateSize);
    encodePolicyState({ ...this.#read(), ...changes }, bytes);
    const [from, to] = [new Uint32Array(bytes.buffer), this.#words()];
    // The words that differ are written at once, as programs read them meanwhile.
    for (const [i, word] of from.entries()) if (to[i] !== word) to[i] = word;
    this.#memory.wrote(0, policyStateSize);
  }

  #words(): Uint32Array {
    const { buffer, byteOffset } = this.#memory.first(1);
    return new Uint32Array(buffer, byteOffset, policyStateSize / 4);
  }
}
