import type { Question } from './question.ts';
import type { DescribedAccess, Reason } from './step-describer.ts';
import type { Tunnel } from './tunnel.ts';

export type { Reason };

/** A step of a program; steps are in the order in which they ran. */
export type Step =
  | ({ readonly kind: 'entry' } & DescribedAccess)
  | { readonly kind: 'route'; readonly meaning: string }
  | { readonly kind: 'line'; readonly source: string };

export interface HookTrace {
  /**
   * The name of the hook, e.g. `connect4` or `node_ingress@eth0`. `stack`: the node's own routing
   * between two hooks.
   */
  readonly hook: string;
  /** The attached program; absent when there is none, or the kernel does not report it. */
  readonly program?: { readonly id: number; readonly tag: string };
  /** True if the attached program is the one that ran here; absent when that is not known. */
  readonly same?: boolean;
  readonly steps: readonly Step[];
  /** A description of the program's result. */
  readonly result: string;
  /** The packet as it left the hook. */
  readonly packet?: string;
}

export interface Verdict {
  /**
   * `translated`: sent to `address` and `port`. `tunnelled`: sent unchanged to the node of that backend.
   * `passed`: sent on unchanged. `refused`: the call fails with `errno`. `rejected`: a reset or an ICMP
   * error is returned. `answered`: Heddle replies to an echo request. `dropped`.
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
  /** The reason's name in the ABI, and its text. */
  readonly reason?: Reason;
  /** The tunnel to another node that the packet is sent through. */
  readonly tunnel?: Tunnel;
  /** The other candidates of a random choice. */
  readonly alternatives?: readonly { readonly address: string; readonly port: number }[];
  /** The packet that is sent on, or the reply. */
  readonly packet?: string;
  /** Its bytes in hexadecimal, from the link header on. */
  readonly frame?: string;
}

export interface Trace {
  readonly question: Question;
  /** The dump that was traced. */
  readonly of: { readonly created: string; readonly kernel: string; readonly heddle: string };
  /** Sentences on what the trace can't know. */
  readonly notes: readonly string[];
  readonly hooks: readonly HookTrace[];
  readonly verdict: Verdict;
}
