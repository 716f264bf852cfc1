import {
  inRanges,
  type PeerRecord,
  type PortRecord,
  type Requirement,
  type Selector,
} from '@heddle/objects';
import { coversName, matchesLabels, type PolicyRecord, type PolicyWorld } from '@heddle/policy';
import { namespaceNameLabel } from './texts.ts';

// Whether one part of a policy contains another one, whatever pods there are. Each function returns true only if it is
// sure.

/** Returns true if everything that `inner` matches is matched by `outer`. */
export function selectorContains(outer: Selector, inner: Selector): boolean {
  return outer.every((wanted) => inner.some((given) => implies(given, wanted)));
}

/** Returns true if whatever fulfils `given` fulfils `wanted`. */
function implies(given: Requirement, wanted: Requirement): boolean {
  if (given.key !== wanted.key) return false;
  const within = (values: readonly string[], others: readonly string[]) =>
    values.every((value) => others.includes(value));
  switch (wanted.operator) {
    case 'In':
      return given.operator === 'In' && within(given.values, wanted.values);
    case 'Exists':
      return given.operator === 'In' || given.operator === 'Exists';
    case 'DoesNotExist':
      return given.operator === 'DoesNotExist';
    case 'NotIn':
      if (given.operator === 'DoesNotExist') return true;
      if (given.operator === 'NotIn') return within(wanted.values, given.values);
      return (
        given.operator === 'In' && given.values.every((value) => !wanted.values.includes(value))
      );
  }
}

/** Selectors of namespaces and of pods in them. */
interface Pods {
  readonly namespaces: Selector;
  readonly pods: Selector;
}

const only = (namespace: string): Selector => [
  { key: namespaceNameLabel, operator: 'In', values: [namespace] },
];

function podsContain(world: PolicyWorld, outer: Pods, inner: Pods): boolean {
  return (
    selectorContains(outer.pods, inner.pods) &&
    (selectorContains(outer.namespaces, inner.namespaces) ||
      isNamespaceMatched(world, outer.namespaces, inner.namespaces))
  );
}

/** Returns true if `inner` selects namespaces by name, and all of them match `outer`. */
function isNamespaceMatched(world: PolicyWorld, outer: Selector, inner: Selector): boolean {
  const named = inner.find(({ key, operator }) => key === namespaceNameLabel && operator === 'In');
  return (
    named?.values.every((name) => {
      const record = world.namespaces.get(name);
      return record !== undefined && matchesLabels(outer, record.labels);
    }) ?? false
  );
}

function subjectOf(policy: PolicyRecord): Pods {
  return policy.kind === 'networkPolicy'
    ? { namespaces: only(policy.namespace), pods: policy.pods }
    : policy.subject;
}

/** Returns true if `outer` selects all pods that `inner` selects. */
export function subjectContains(
  world: PolicyWorld,
  outer: PolicyRecord,
  inner: PolicyRecord,
): boolean {
  return podsContain(world, subjectOf(outer), subjectOf(inner));
}

/** A peer, or undefined for all peers, of a policy. */
export interface PeerOf {
  readonly policy: PolicyRecord;
  readonly peer: PeerRecord | undefined;
}

/** Returns true if all addresses of the peer `inner` are of the peer `outer`. */
export function peerContains(world: PolicyWorld, outer: PeerOf, inner: PeerOf): boolean {
  const [a, b] = [outer.peer, inner.peer];
  if (a === undefined) return true;
  if (b === undefined || a.type !== b.type) return false;
  if (a.type === 'range' && b.type === 'range') {
    return (
      rangeContains(a.range, b.range) &&
      // An address without one of the exceptions of the outer range has to be missing in the inner one, too.
      a.except.every(
        (each) =>
          !rangesTouch(each, b.range) || b.except.some((other) => rangeContains(other, each)),
      )
    );
  }
  if (a.type === 'nodes' && b.type === 'nodes') return selectorContains(a.nodes, b.nodes);
  if (a.type === 'domain' && b.type === 'domain') return coversName(a.name, b.name);
  if (a.type === 'pods' && b.type === 'pods') {
    const namespaces = (of: PeerOf, own: Selector | undefined) => own ?? only(of.policy.namespace);
    return podsContain(
      world,
      { namespaces: namespaces(outer, a.namespaces), pods: a.pods },
      { namespaces: namespaces(inner, b.namespaces), pods: b.pods },
    );
  }
  return false;
}

/** Returns true if the first range has all addresses of the second one; both in canonical text. */
export function rangeContains(outer: string, inner: string): boolean {
  return prefixLength(outer) <= prefixLength(inner) && inRanges([outer], inner.split('/')[0]!);
}

/** Returns true if the ranges have an address in common. */
export function rangesTouch(a: string, b: string): boolean {
  return rangeContains(a, b) || rangeContains(b, a);
}

/** Returns the number of bits of the prefix, in its own family. */
export function prefixLength(range: string): number {
  return Number(range.split('/')[1]);
}

/** Returns true if each port that `inner` matches is matched by `outer`; undefined is all ports and protocols. */
export function portContains(
  outer: PortRecord | undefined,
  inner: PortRecord | undefined,
): boolean {
  if (outer === undefined) return true;
  if (inner === undefined) return false;
  if (outer.type === 'name') {
    return (
      inner.type === 'name' &&
      outer.name === inner.name &&
      (outer.protocol === undefined || outer.protocol === inner.protocol)
    );
  }
  if (inner.type === 'name') {
    return outer.first <= 1 && outer.last === 65535 && inner.protocol === outer.protocol;
  }
  return (
    outer.protocol === inner.protocol && outer.first <= inner.first && inner.last <= outer.last
  );
}
