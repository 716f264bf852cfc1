import type { Addresses } from '@heddle/lab';
import { only, ownCase, pods4, pods6 } from './own-cases.ts';
import { all, app, clusterPolicy, label, networkPolicy, port, team } from './own-objects.ts';
import type { PolicyCase } from './policy-case.ts';

// Cases of ClusterNetworkPolicies, in the words of their definition: objects, and which connections they deny.

/** Returns the cases of ClusterNetworkPolicies, alone and with NetworkPolicies. */
export function clusterPolicyCases(addressesOf: (pod: string) => Addresses): PolicyCase[] {
  const shop = { namespaces: team('shop') };
  const lab = { namespaces: team('lab') };
  const ops = { namespaces: team('ops') };
  const openDb = networkPolicy('shop/open', { podSelector: app('db'), ingress: [{}] });
  const closedDb = networkPolicy('shop/closed', { podSelector: app('db'), ingress: [] });
  const admin = (rules: object, more: object = {}) =>
    clusterPolicy('guard', { tier: 'Admin', subject: shop, ...rules, ...more });
  const tcp = (number: number) => ({ tcp: { destinationPort: { number } } });
  const anyPort = { destinationPort: { range: { start: 1, end: 65535 } } };
  return [
    ownCase('a denial of the tier Admin prevails over a NetworkPolicy that allows', {
      policies: [admin({ ingress: [{ action: 'Deny', from: [lab] }] }), openDb],
      verdicts: ['lab/* -> shop/* denied'],
    }),
    ownCase('a permission of the tier Admin prevails over isolation', {
      policies: [admin({ ingress: [{ action: 'Accept', from: [lab] }] }), closedDb],
      verdicts: ['* -> shop/db denied', 'lab/* -> shop/db allowed'],
    }),
    ownCase('what the tier Admin passes is decided by NetworkPolicies', {
      policies: [
        admin({
          ingress: [
            {
              action: 'Pass',
              from: [{ pods: { namespaceSelector: team('lab'), podSelector: app('web') } }],
            },
            { action: 'Deny', from: [lab] },
          ],
        }),
        networkPolicy('shop/some', {
          podSelector: app('db'),
          ingress: [{ ports: [port('TCP', 80)] }],
        }),
      ],
      verdicts: ['* -> shop/db denied', '* -> shop/db TCP/80 allowed', 'lab/job -> shop/* denied'],
    }),
    ownCase('the lower priority decides first', {
      policies: [
        clusterPolicy('b', {
          ...{ tier: 'Admin', priority: 2, subject: shop },
          ingress: [{ action: 'Accept', from: [lab] }],
        }),
        clusterPolicy('a', {
          ...{ tier: 'Admin', priority: 3, subject: shop },
          ingress: [{ action: 'Deny', from: [lab] }],
        }),
        clusterPolicy('c', {
          ...{ tier: 'Admin', priority: 1, subject: shop },
          ingress: [{ action: 'Deny', from: [lab], protocols: [tcp(443)] }],
        }),
      ],
      verdicts: ['lab/* -> shop/* TCP/443 denied'],
    }),
    ownCase('the first rule that matches decides', {
      policies: [
        admin({
          egress: [
            { action: 'Accept', to: [lab], protocols: [tcp(80)] },
            { action: 'Deny', to: [lab] },
            { action: 'Accept', to: [lab], protocols: [tcp(443)] },
          ],
        }),
      ],
      verdicts: ['shop/* -> lab/* denied', 'shop/* -> lab/* TCP/80 allowed'],
    }),
    ownCase('the tier Baseline decides where nothing else does', {
      policies: [
        clusterPolicy('default', {
          tier: 'Baseline',
          subject: shop,
          ingress: [{ action: 'Deny', from: [{ namespaces: all }] }],
        }),
        networkPolicy('shop/some', {
          podSelector: app('db'),
          ingress: [{ from: [{ namespaceSelector: team('lab') }] }],
        }),
      ],
      verdicts: [
        '* -> shop/* denied',
        // Namespaces have pods only, not nodes.
        'edge/* -> shop/* allowed',
        'edge/* -> shop/db denied',
        'lab/* -> shop/db allowed',
      ],
    }),
    ownCase('the tier Admin passes to the tier Baseline where no NetworkPolicy selects the pod', {
      policies: [
        admin({
          ingress: [
            { action: 'Pass', from: [lab] },
            { action: 'Accept', from: [ops] },
          ],
        }),
        clusterPolicy('default', {
          tier: 'Baseline',
          subject: shop,
          ingress: [
            { action: 'Deny', from: [lab] },
            { action: 'Deny', from: [ops] },
          ],
        }),
      ],
      verdicts: ['lab/* -> shop/* denied'],
    }),
    ownCase('subjects are selected by labels of pods', {
      policies: [
        admin(
          { ingress: [{ action: 'Deny', from: [{ namespaces: all }] }] },
          { subject: { pods: { namespaceSelector: all, podSelector: label('stage', 'front') } } },
        ),
      ],
      verdicts: ['* -> */web denied', 'edge/* -> * allowed'],
    }),
    ownCase('protocols are ports, ranges and names', {
      policies: [
        admin({
          ingress: [
            { action: 'Accept', from: [lab], protocols: [{ destinationNamedPort: 'http' }] },
            {
              action: 'Accept',
              from: [lab],
              protocols: [{ sctp: { destinationPort: { range: { start: 8999, end: 9000 } } } }],
            },
            { action: 'Deny', from: [lab] },
          ],
        }),
      ],
      verdicts: [
        'lab/* -> shop/* denied',
        'lab/* -> shop/* SCTP/9000 allowed',
        'lab/* -> shop/* TCP/80 allowed',
        'lab/* -> shop/db TCP/80 denied',
        'lab/* -> shop/db TCP/443 allowed',
      ],
    }),
    ownCase('a rule with protocols does not decide about ICMP', {
      policies: [
        admin({
          egress: [
            {
              action: 'Deny',
              to: [lab],
              protocols: [{ tcp: anyPort }, { udp: anyPort }, { sctp: anyPort }],
            },
          ],
        }),
      ],
      verdicts: ['shop/* -> lab/* denied', 'shop/* -> lab/* ICMP allowed'],
    }),
    ownCase('networks have pods and nodes', {
      policies: [
        admin({
          egress: [
            { action: 'Accept', to: [{ networks: only(addressesOf('lab/web')) }] },
            {
              action: 'Deny',
              to: [{ networks: [pods4, pods6, ...only(addressesOf('edge/gate-2'))] }],
            },
          ],
        }),
      ],
      verdicts: [
        'shop/* -> * denied',
        'shop/* -> lab/web allowed',
        'shop/* -> edge/gate-1 allowed',
      ],
    }),
    ownCase('nodes are selected by labels', {
      policies: [
        admin({
          egress: [
            {
              action: 'Accept',
              to: [{ nodes: { matchLabels: { 'kubernetes.io/os': 'linux' } } }],
              protocols: [tcp(443)],
            },
            { action: 'Deny', to: [{ nodes: { matchLabels: { 'kubernetes.io/os': 'linux' } } }] },
          ],
        }),
      ],
      verdicts: ['shop/* -> edge/* denied', 'shop/* -> edge/* TCP/443 allowed'],
    }),
    ownCase('a peer of an unknown kind denies all, and allows nothing', {
      policies: [
        admin({ ingress: [{ action: 'Accept', from: [{ planets: all }] }] }),
        clusterPolicy('other', {
          ...{ tier: 'Admin', subject: lab },
          ingress: [{ action: 'Deny', from: [{ planets: all }] }],
        }),
        closedDb,
      ],
      verdicts: ['* -> shop/db denied', '* -> lab/* denied'],
    }),
    ownCase(
      'a policy of the cluster comes and goes',
      {
        policies: [admin({ ingress: [{ action: 'Deny', from: [ops] }] })],
        verdicts: ['ops/* -> shop/* denied'],
      },
      { policies: [], verdicts: [] },
      {
        policies: [admin({ egress: [{ action: 'Deny', to: [ops] }] })],
        verdicts: ['shop/* -> ops/* denied'],
      },
    ),
  ];
}
