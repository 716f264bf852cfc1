import type { Question } from './question.ts';
import type { Explained } from './words.ts';

/** What a program did, in order. */
export type Step =
  | ({ readonly kind: 'entry' } & Explained)
  | { readonly kind: 'route'; readonly meaning: string }
  | { readonly kind: 'line'; readonly source: string };

export interface HookTrace {
  /**
   * Name of the hook, e.g. `connect4` or `node_ingress@eth0`. `stack`: no program of Heddle, but the
   * node's own routing between two.
   */
  readonly hook: string;
  /** What is attached there; absent when nothing is, or the kernel does not say. */
  readonly program?: { readonly id: number; readonly tag: string };
  /** Whether the attached program is the one that ran here; absent when that can't be told. */
  readonly same?: boolean;
  readonly steps: readonly Step[];
  /** What the program answered, in words. */
  readonly result: string;
  /** The packet as it left the hook. */
  readonly packet?: string;
}

export interface Verdict {
  /**
   * `translated`: goes to `address` and `port`. `tunnelled`: as it is, to the node of that backend. `passed`: goes where it was sent. `refused`: the call
   * fails with `errno`. `rejected`: the packet is answered with a reset or an ICMP error. `answered`:
   * with what was asked for, by Heddle itself. `dropped`.
   */
  readonly outcome:
    | 'translated'
    | 'tunnelled'
    | 'passed'
    | 'refused'
    | 'rejected'
    | 'answered'
    | 'dropped';
  readonly text: string;
  readonly address?: string;
  readonly port?: number;
  readonly errno?: string;
  /** Number's name in abi.h, and what it says. */
  readonly reason?: Reason;
  /** Where else it could have gone, when the choice is by chance. */
  readonly alternatives?: readonly { readonly address: string; readonly port: number }[];
  /** The packet as it goes on, or the answer. */
  readonly packet?: string;
  /** The same as bytes, in hexadecimal, from its link header on. */
  readonly frame?: string;
}

export interface Reason {
  readonly name: string;
  readonly text: string;
}

export interface Trace {
  readonly question: Question;
  /** What the answer rests on. */
  readonly of: { readonly created: string; readonly kernel: string; readonly heddle: string };
  /** What makes the answer less than certain. */
  readonly notes: readonly string[];
  readonly hooks: readonly HookTrace[];
  readonly verdict: Verdict;
}
