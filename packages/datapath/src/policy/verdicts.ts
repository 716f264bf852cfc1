import { formatIp } from '@heddle/sys';
import { protocolText } from '../core/protocols.ts';
import { WatchedRing, type WatchedRingParts } from '../core/watched-ring.ts';
import { decodePolicyVerdict, policyDirection, policyOutcome } from '../generated/abi.ts';

/** A verdict about a connection. Ports in host order, 0 where the protocol has none. */
export interface Verdict {
  /** `would-deny`: a policy in audit mode would deny the connection. */
  readonly outcome: 'allowed' | 'denied' | 'would-deny';
  /** The direction that denied it. */
  readonly direction: 'egress' | 'ingress' | undefined;
  readonly ifindex: number;
  readonly protocol: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** The number of the rule that decided in each direction, or undefined if none did. */
  readonly egressRule: number | undefined;
  readonly ingressRule: number | undefined;
}

/** The verdicts about connections, which the programs write while somebody reads them. */
export class Verdicts implements Disposable {
  readonly #ring: WatchedRing;

  /** `parts`: of the map `policy_verdicts`. */
  constructor(parts: WatchedRingParts) {
    this.#ring = new WatchedRing(parts);
  }

  /**
   * Calls `onVerdict` for each verdict, until the result is disposed. There is one watcher at a time: a new one ends
   * the one before. Throws SysError.
   */
  watch(onVerdict: (verdict: Verdict) => void): Disposable {
    return this.#ring.watch((record) => onVerdict(readVerdict(record)));
  }

  [Symbol.dispose](): void {
    this.#ring[Symbol.dispose]();
  }
}

const outcomes: Readonly<Record<number, Verdict['outcome']>> = {
  [policyOutcome.allowed]: 'allowed',
  [policyOutcome.denied]: 'denied',
  [policyOutcome.wouldDeny]: 'would-deny',
};

/** Reads struct policy_verdict. */
export function readVerdict(record: Uint8Array): Verdict {
  const { tuple, outcome, direction, ifindex, egressRule, ingressRule } =
    decodePolicyVerdict(record);
  const isAllowed = outcomes[outcome] === 'allowed';
  return {
    outcome: outcomes[outcome] ?? 'allowed',
    direction: isAllowed ? undefined : direction === policyDirection.egress ? 'egress' : 'ingress',
    ifindex,
    protocol: protocolText(tuple.protocol),
    source: formatIp(tuple.source),
    sourcePort: tuple.sourcePort,
    destination: formatIp(tuple.destination),
    destinationPort: tuple.destinationPort,
    egressRule: egressRule === 0 ? undefined : egressRule - 1,
    ingressRule: ingressRule === 0 ? undefined : ingressRule - 1,
  };
}
