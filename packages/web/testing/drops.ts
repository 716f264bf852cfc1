import type { DropKind, Explanation, RuleRef } from '@heddle/web/contract';
import { type InventedCluster, type InventedLink, nameOf, partyOf } from './cluster.ts';

const hour = 3600_000;
const minute = 60_000;

/** A kind of drops of an invented cluster, without what depends on the time. */
export interface InventedKind {
  readonly link: InventedLink;
  readonly id: string;
  readonly reason: number;
  readonly name: string;
  readonly direction?: 'ingress' | 'egress';
  readonly service?: string;
  readonly rules: readonly RuleRef[];
  readonly facts: Explanation['facts'];
}

/** Returns the kinds of drops: one for each link that has drops or refusals. */
export function inventedKinds({ links }: InventedCluster): InventedKind[] {
  return links
    .filter(({ dropped, refused }) => dropped + refused > 0)
    .map((link, index) => ({
      link,
      id: `k${index.toString(36)}${link.port.toString(36)}${nameOf(link.from).length}`,
      ...explanationOf(link),
    }));
}

function explanationOf(link: InventedLink): Omit<InventedKind, 'link' | 'id'> {
  const server = nameOf(link.to);
  const rule = (name: string, more: Partial<RuleRef>): RuleRef => {
    const kind = name.includes('/') ? 'NetworkPolicy' : 'ClusterNetworkPolicy';
    const [namespace, own] = name.includes('/') ? name.split('/') : ['', name];
    const policy = { kind, namespace: namespace!, name: own! };
    return { policy, rule: 2, direction: 'ingress', relation: 'nearest', ...more };
  };
  if (link.refused > 0) {
    const facts = { selector: [`app=${link.to.name}`], pods: 0, ready: 0 };
    return { reason: 158, name: 'SERVICE_BACKEND_NOT_FOUND', service: server, rules: [], facts };
  }
  if (link.from.namespace === 'preview') {
    const policy = rule('preview/egress-shop-only', { rule: 1, direction: 'egress' });
    const more = { reason: 133, name: 'POLICY_DENIED', direction: 'egress' as const };
    return { ...more, rules: [policy], facts: {} };
  }
  if (link.from.namespace === 'batch') {
    const rules = [rule('guard-databases', { rule: 3, relation: 'denied' })];
    const facts = { ruleName: 'only-owners', tier: 'Admin' };
    return { reason: 181, name: 'POLICY_DENY', direction: 'ingress', rules, facts };
  }
  if (link.from.namespace === '' && link.to.name === 'admin') {
    const facts = { ranges: ['198.18.0.0/15'], client: '203.0.113.77' };
    return { reason: 177, name: 'DENIED_BY_LB_SRC_RANGE_CHECK', service: server, rules: [], facts };
  }
  if (link.from.namespace === '') {
    return { reason: 163, name: 'CT_NO_MAP_FOUND', rules: [], facts: { timeout: 21_600 } };
  }
  const rules = [rule(`${server}-ingress`, {})];
  return { reason: 133, name: 'POLICY_DENIED', direction: 'ingress', rules, facts: {} };
}

/** Returns a kind as the relay gives it at a time. */
export function dropKind(kind: InventedKind, now: number, from = now - 24 * hour): DropKind {
  const { link, id, reason, name, direction, service, rules } = kind;
  const rate = link.dropped + link.refused;
  const since = now - Math.min(link.first, 23 * 60) * minute;
  const last = now - link.last * minute;
  const hours = Array.from({ length: 24 }, (_, index) => {
    const end = now - (23 - index) * hour;
    const covered = Math.min(end, last) - Math.max(end - hour, since);
    return Math.max(0, Math.round((covered / 1000) * rate));
  });
  return {
    ...{ id, reason, name, rules, hours },
    verdict: link.refused > 0 ? 'refused' : 'dropped',
    ...(direction ? { direction } : {}),
    ...(service ? { service } : {}),
    ...{ from: partyOf(link.from), to: partyOf(link.to), protocol: link.protocol, port: link.port },
    now: link.last > 1 ? 0 : rate,
    packets: Math.max(0, Math.round(((last - Math.max(since, from)) / 1000) * rate)),
    exact: true,
    ...{ since, last },
    nodes: [...new Set(link.to.pods.map(({ node }) => node))],
  };
}

/** Returns why a kind happens. */
export function explain(kind: InventedKind, now: number): Explanation {
  const { link, rules, facts } = kind;
  const [client, server] = [nameOf(link.from), nameOf(link.to)];
  const common = {
    ...dropKind(kind, now),
    ...{ facts, others: 0 },
    trace: `--from ${client} --to ${server} --port ${link.port}`,
  };
  if (kind.reason !== 133 || kind.direction !== 'ingress') return { ...common, tests: [] };
  const { policy } = rules[0]!;
  const change = {
    ...{ id: 'e1', at: common.since - 6000, lane: 'rollout' as const, subject: client },
    text: `Rollout of ${client}, revision 41`,
  };
  return {
    ...common,
    tests: [
      { what: 'direction', rule: 'ingress', here: 'ingress', fits: true },
      {
        what: 'subject',
        rule: `app=${link.to.name}`,
        here: `${server} has app=${link.to.name}`,
        fits: true,
      },
      {
        what: 'peer',
        rule: `namespace ${link.from.namespace}, app=${link.from.name}`,
        here: `${client} has app=${link.from.name}`,
        fits: true,
      },
      { what: 'port', rule: 'TCP 8080', here: `TCP ${link.port}`, fits: false },
    ],
    source: {
      kind: `${policy.kind} ${policy.namespace}/${policy.name}`,
      lines: policyLines(policy.name, link),
      near: [16, 25],
      failing: [25],
    },
    change: { event: change, seconds: 6 },
    wouldAllow: {
      yaml: policyLines(policy.name, link)
        .join('\n')
        .replace(/port: 8080 }$/, `port: 8080 }\n    - { protocol: TCP, port: ${link.port} }`),
      alsoLetsIn: 0,
      ofThemAsked: 0,
    },
  };
}

function policyLines(name: string, { from, to }: InventedLink): string[] {
  return [
    'apiVersion: networking.k8s.io/v1',
    'kind: NetworkPolicy',
    'metadata:',
    `  name: ${name}`,
    `  namespace: ${to.namespace}`,
    'spec:',
    '  podSelector:',
    `    matchLabels: { app: ${to.name} }`,
    '  policyTypes: [Ingress]',
    '  ingress:',
    '  - from:                   # rule 1',
    '    - podSelector:',
    '        matchLabels: { app: payment-api }',
    '    ports:',
    '    - { protocol: TCP, port: 8080 }',
    '',
    '  - from:                   # rule 2',
    '    - namespaceSelector:',
    `        matchLabels: { kubernetes.io/metadata.name: ${from.namespace} }`,
    '      podSelector:',
    '        matchLabels:',
    `          app: ${from.name}`,
    '        # The port of the service before its second release.',
    '',
    '    ports:',
    '    - { protocol: TCP, port: 8080 }',
  ];
}
