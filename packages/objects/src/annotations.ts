import { canonicalAddress, canonicalRange } from './addresses.ts';
import type { PartProblems } from './part-problems.ts';
import { readQuantity } from './quantity.ts';
import type { Algorithm, Bandwidth, Forwarding } from './records.ts';

/** `random`, `round-robin`, `weighted`, `least-connections` or `maglev`. */
export const algorithmAnnotation = 'heddle.io/algorithm';
/** `address-or-pod-name=weight,...`; weights are 1 to 65535, an endpoint not listed has 1. */
export const weightsAnnotation = 'heddle.io/weights';
/** `snat`, `dsr` or `hybrid`. */
export const forwardingAnnotation = 'heddle.io/forwarding';
/** On a Node: more ranges of pod addresses, with commas between. */
export const podCIDRsAnnotation = 'heddle.io/pod-cidrs';
/** On a Pod: the congestion control of its TCP connections. */
export const congestionControlAnnotation = 'heddle.io/congestion-control';
/** On a Pod: bits per second that it may send, as the kubelet reads it. */
export const egressBandwidthAnnotation = 'kubernetes.io/egress-bandwidth';
/** On a Pod: bits per second that it may receive. */
export const ingressBandwidthAnnotation = 'kubernetes.io/ingress-bandwidth';
/** On a Pod from a file: the uid by which the kubelet calls it; its object in the API has another one. */
export const mirrorAnnotation = 'kubernetes.io/config.mirror';
/** On a NetworkPolicy, ClusterNetworkPolicy or Namespace: `enforce` or `audit`. */
export const policyModeAnnotation = 'heddle.io/policy-mode';
export const denyResponseAnnotation = 'heddle.io/policy-deny-response';

/** The responses to the sender of a denied packet. */
export const denyResponses = ['none', 'icmp', 'reset'] as const;
export type DenyResponse = (typeof denyResponses)[number];

const algorithms: readonly string[] = [
  'random',
  'round-robin',
  'weighted',
  'least-connections',
  'maglev',
] satisfies Algorithm[];

/** The values that the configuration and the annotation accept. */
export const forwardings = ['snat', 'dsr', 'hybrid'] as const satisfies Forwarding[];

export interface Balancing {
  readonly algorithm: Algorithm;
  /** The weights by canonical address or by pod name. */
  readonly weights: ReadonlyMap<string, number> | undefined;
  /** Sentences about annotations that can't be used. The default applies there. */
  readonly problems: readonly string[];
}

const defaultBalancing: Balancing = { algorithm: 'random', weights: undefined, problems: [] };

/**
 * Reads a service's annotations on load balancing. Never throws: `problems` lists what it ignored.
 */
export function readBalancing(annotations: Readonly<Record<string, string>>): Balancing {
  const algorithmText = annotations[algorithmAnnotation];
  const weightsText = annotations[weightsAnnotation];
  if (algorithmText === undefined && weightsText === undefined) return defaultBalancing;
  const problems: string[] = [];
  let algorithm: Algorithm = 'random';
  if (algorithmText !== undefined) {
    if (algorithms.includes(algorithmText)) algorithm = algorithmText as Algorithm;
    else {
      problems.push(
        `annotation ${algorithmAnnotation} is ${JSON.stringify(algorithmText)}: ` +
          `must be one of ${algorithms.join(', ')}; random is used`,
      );
    }
  }
  const weights = weightsText === undefined ? undefined : readWeights(weightsText, problems);
  return { algorithm, weights, problems };
}

/**
 * Reads a service's annotation on forwarding to other nodes. Returns undefined without one and,
 * with a sentence added to `problems`, for an unknown value.
 */
export function readForwarding(
  annotations: Readonly<Record<string, string>>,
  problems: string[],
): Forwarding | undefined {
  const text = annotations[forwardingAnnotation];
  if (text === undefined) return undefined;
  const known = forwardings.find((name) => name === text);
  if (known === undefined) {
    problems.push(
      `annotation ${forwardingAnnotation} is ${JSON.stringify(text)}: ` +
        `must be one of ${forwardings.join(', ')}; the configured value is used`,
    );
  }
  return known;
}

function readWeights(text: string, problems: string[]): ReadonlyMap<string, number> {
  const weights = new Map<string, number>();
  for (const entry of text.split(',')) {
    const item = entry.trim();
    if (item === '') continue;
    const equals = item.lastIndexOf('=');
    const name = item.slice(0, Math.max(equals, 0)).trim();
    const digits = item.slice(equals + 1).trim();
    const weight = /^\d{1,5}$/.test(digits) ? Number(digits) : 0;
    if (name === '' || weight < 1 || weight > 65535) {
      problems.push(
        `annotation ${weightsAnnotation} has ${JSON.stringify(item)}: ` +
          'must be address=weight or pod=weight with a weight from 1 to 65535; weight 1 is used',
      );
      continue;
    }
    weights.set(canonicalAddress(name) ?? name, weight);
  }
  return weights;
}

/**
 * Reads a Node's annotation on pod addresses: the ranges as canonical texts. Never throws: `problems`
 * lists what it ignored.
 */
export function readPodCIDRs(annotations: Readonly<Record<string, string>>): {
  readonly ranges: readonly string[];
  readonly problems: readonly string[];
} {
  const ranges: string[] = [];
  const problems: string[] = [];
  for (const entry of (annotations[podCIDRsAnnotation] ?? '').split(',')) {
    const item = entry.trim();
    if (item === '') continue;
    const range = canonicalRange(item);
    if (range !== undefined) ranges.push(range);
    else {
      problems.push(
        `annotation ${podCIDRsAnnotation} has ${JSON.stringify(item)}: ` +
          'must be a range of addresses such as 10.245.1.0/24; it is ignored',
      );
    }
  }
  return { ranges, problems };
}

/** The bounds of the kubelet, bits per second. */
const [leastRate, largestRate] = [1000n, 10n ** 15n];

/**
 * Reads a Pod's annotations on bandwidth. Returns undefined without a limit. Never throws: `problems` lists
 * what it ignored.
 */
export function readBandwidth(annotations: Readonly<Record<string, string>>): {
  readonly bandwidth: Bandwidth | undefined;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const read = (name: string): number | undefined => {
    const text = annotations[name];
    if (text === undefined) return undefined;
    const rate = readQuantity(text);
    if (rate !== undefined && rate >= leastRate && rate <= largestRate) return Number(rate);
    problems.push(
      `annotation ${name} is ${JSON.stringify(text)}: ` +
        'must be bits per second from 1k to 1P, such as 10M; the pod has no limit',
    );
    return undefined;
  };
  const egress = read(egressBandwidthAnnotation);
  const ingress = read(ingressBandwidthAnnotation);
  const isLimited = egress !== undefined || ingress !== undefined;
  return { bandwidth: isLimited ? { egress, ingress } : undefined, problems };
}

/**
 * Reads the annotation on the mode of a policy. Returns true for `audit`, and false, with a sentence for an unknown
 * value, otherwise.
 */
export function readPolicyMode(
  annotations: Readonly<Record<string, string | undefined>> | null | undefined,
  problems: PartProblems,
): boolean {
  const mode = annotations?.[policyModeAnnotation];
  if (mode !== undefined && mode !== 'audit' && mode !== 'enforce') {
    const rule = 'must be audit or enforce; policies are enforced';
    problems.add(`annotation ${policyModeAnnotation}`, mode, rule);
  }
  return mode === 'audit';
}

/**
 * Reads the annotation on the response to what a policy denies, as a field of its record. There is no field without the
 * annotation, nor, with a sentence, for an unknown value: the agent's setting applies then.
 */
export function readDenyResponse(
  annotations: Readonly<Record<string, string | undefined>> | null | undefined,
  problems: PartProblems,
): { readonly denyResponse?: DenyResponse } {
  const text = annotations?.[denyResponseAnnotation];
  if (text === undefined) return {};
  const denyResponse = denyResponses.find((each) => each === text);
  if (denyResponse !== undefined) return { denyResponse };
  const rule = 'must be none, icmp or reset; policyDenyResponse of the agent applies';
  problems.add(`annotation ${denyResponseAnnotation}`, text, rule);
  return {};
}
