import { localPolicies, type MeasuredPod, type PolicyScale, peersOf, portOf } from './objects.ts';

// Rules of other enforcers for the same policies (IPv4), as input of `nft -f`, written from their
// documented forms: kube-router's design of network policies (docs/ of cloudnativelabs/kube-router),
// and kube-network-policies (kubernetes-sigs), which queues the first packets of connections.

/** The mark of a packet that a policy allows, and of one that all of its pods' chains allow. */
const [allowedMark, acceptedMark] = ['0x10000', '0x20000'];

/**
 * Returns kube-router's chains in nftables' syntax: a chain for each pod, which goes through the chains of the
 * policies that select the pod, one after the other; addresses of peers are in sets.
 */
export function kubeRouterRules(scale: PolicyScale, pods: readonly MeasuredPod[]): string {
  const numbers = Array.from({ length: localPolicies }, (_, n) => n);
  const selected = pods.map(({ address }) => address).join(', ');
  const sets = numbers.map(
    (n) =>
      `set peers-${n} { type ipv4_addr; elements = { ${peersOf(n, scale, pods).join(', ')} }; }`,
  );
  const policyChains = numbers.map((n) => {
    const allow = (match: string) => [
      `${match} tcp dport ${portOf(n)} meta mark set meta mark or ${allowedMark}`,
      `${match} tcp dport ${portOf(n)} meta mark and ${allowedMark} == ${allowedMark} return`,
    ];
    return `chain policy-${n} {
    ${allow(`ip saddr @peers-${n} ip daddr @selected`).join('\n    ')}
    ${allow(`ip saddr @selected ip daddr @peers-${n}`).join('\n    ')}
  }`;
  });
  const podChains = pods.map(
    ({ name, address }) => `chain pod-${name} {
    ct state related,established accept
    ct state invalid drop
    ip daddr ${address} fib saddr type local accept
    ${numbers.map((n) => `ip daddr ${address} jump policy-${n}`).join('\n    ')}
    ${numbers.map((n) => `ip saddr ${address} jump policy-${n}`).join('\n    ')}
    meta mark and ${allowedMark} != ${allowedMark} reject
    meta mark set meta mark and 0xfffeffff
    meta mark set meta mark or ${acceptedMark}
  }`,
  );
  const jumps = pods.flatMap(({ name, address }) => [
    `ip daddr ${address} jump pod-${name}`,
    `ip saddr ${address} jump pod-${name}`,
  ]);
  return `add table ip policies
delete table ip policies
table ip policies {
  set selected { type ipv4_addr; elements = { ${selected} }; }
  ${sets.join('\n  ')}
  ${policyChains.join('\n  ')}
  ${podChains.join('\n  ')}
  chain forward {
    type filter hook forward priority 0
    ${jumps.join('\n    ')}
    meta mark and ${acceptedMark} == ${acceptedMark} accept
  }
}
`;
}

/**
 * Returns the rules of kube-network-policies, with `accept` in the place of the queue: a lower limit, as the way
 * to the process that decides and back comes on top for the first packet of each connection. Not every
 * kernel has the queue.
 */
export function queueRules(pods: readonly MeasuredPod[]): string {
  const selected = pods.map(({ address }) => address).join(', ');
  return `add table ip policies
delete table ip policies
table ip policies {
  set selected { type ipv4_addr; elements = { ${selected} }; }
  chain postrouting {
    type filter hook postrouting priority srcnat - 5
    ct state established,related accept
    ip saddr @selected accept
    ip daddr @selected accept
  }
}
`;
}
