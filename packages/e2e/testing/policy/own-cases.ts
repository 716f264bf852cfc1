import type { Addresses } from '@heddle/lab';
import type { ManifestObject } from '../node-network-lab.ts';
import { all, app, clusterPolicy, label, networkPolicy, port, team } from './own-objects.ts';
import type { PolicyCase } from './policy-case.ts';
import type { ContainerPort, PodSpec } from './policy-lab.ts';
import type { ServedPorts } from './prober.ts';
import { expectedProbes, type Service, type VerdictText } from './verdicts.ts';

// Cases of network policies, in the words of their definition: objects, and which connections they deny.

export const ownPorts: ServedPorts = { TCP: [80, 443], UDP: [53], SCTP: [9000] };
const services: readonly Service[] = [
  ['TCP', 80],
  ['TCP', 443],
  ['UDP', 53],
  ['SCTP', 9000],
  ['ICMP', 0],
];
const http = (containerPort: number): ContainerPort[] => [
  { name: 'http', protocol: 'TCP', containerPort },
];

function pod(
  key: `${string}/${string}`,
  node: number,
  ports: readonly ContainerPort[],
  labels: Readonly<Record<string, string>> = {},
): PodSpec {
  const [namespace, name] = key.split('/') as [string, string];
  return { namespace, name, node, ports, labels: { app: name, ...labels } };
}

/** Two teams, an operator, and a process of each node. */
export const ownPods: readonly PodSpec[] = [
  pod('shop/web', 1, http(80), { stage: 'front' }),
  pod('shop/api', 2, http(80)),
  pod('shop/db', 1, http(443)),
  pod('lab/web', 2, http(80), { stage: 'front' }),
  pod('lab/job', 1, []),
  pod('ops/probe', 2, []),
  { ...pod('edge/gate-1', 1, []), hostNetwork: true },
  { ...pod('edge/gate-2', 2, []), hostNetwork: true },
];

const namespaces: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map<
  string,
  Readonly<Record<string, string>>
>([
  ['shop', { team: 'shop' }],
  ['lab', { team: 'lab' }],
  ['ops', { team: 'ops', trusted: 'yes' }],
  ['edge', { team: 'edge' }],
]);

interface OwnStep {
  readonly policies?: readonly ManifestObject[];
  readonly verdicts: readonly VerdictText[];
  /** Other labels of pods, by `namespace/name`. */
  readonly labels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Other labels of namespaces. */
  readonly namespaceLabels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

function ownCase(title: string, ...steps: readonly OwnStep[]): PolicyCase {
  return {
    title,
    steps: steps.map(({ policies = [], verdicts, labels = {}, namespaceLabels = {} }) => ({
      namespaces: new Map([...namespaces, ...Object.entries(namespaceLabels)]),
      pods: ownPods.map((each) => {
        const other = labels[`${each.namespace}/${each.name}`];
        return other ? { ...each, labels: other } : each;
      }),
      policies,
      expected: expectedProbes(ownPods, services, verdicts),
    })),
  };
}

/** Returns the ranges of single addresses of a host. */
const only = ({ v4, v6 }: Addresses) => [`${v4}/32`, `${v6}/128`];
const pods4 = '10.244.0.0/16';
const pods6 = 'fd00:10:244::/48';
/** Processes of a node have such an address at pods behind a tunnel. */
const inTunnels = [1, 2].flatMap((node) =>
  only({ v4: `10.244.${node}.1`, v6: `fd00:10:244:${node}::1` }),
);
const blocks = (cidrs: readonly string[], except: readonly string[] = []) =>
  cidrs.map((cidr) => {
    const own = except.filter((each) => each.includes(':') === cidr.includes(':'));
    return { ipBlock: { cidr, ...(own.length > 0 && { except: own }) } };
  });

/** Returns the cases of NetworkPolicies. `addressesOf` returns the addresses of a pod in the lab. */
export function networkPolicyCases(addressesOf: (pod: string) => Addresses): PolicyCase[] {
  const web = { podSelector: app('web') };
  const api = { podSelector: app('api') };
  const db = { podSelector: app('db') };
  return [
    ownCase('without policies all is allowed', { verdicts: [] }),
    ownCase('a policy without rules isolates the pods that it selects', {
      policies: [networkPolicy('shop/a', { ...web, ingress: [] })],
      verdicts: ['* -> shop/web denied'],
    }),
    ownCase('a policy of egress without rules keeps what a pod sends', {
      policies: [networkPolicy('shop/a', { ...api, egress: [] })],
      verdicts: ['shop/api -> * denied'],
    }),
    ownCase('a policy of both directions isolates a namespace', {
      policies: [networkPolicy('lab/a', { podSelector: all, policyTypes: ['Ingress', 'Egress'] })],
      verdicts: ['* -> lab/* denied', 'lab/* -> * denied'],
    }),
    ownCase('rules of a direction that the policy does not have do not count', {
      policies: [
        networkPolicy('shop/a', { ...web, ingress: [], egress: [], policyTypes: ['Egress'] }),
      ],
      verdicts: ['shop/web -> * denied'],
    }),
    ownCase('a policy that selects no pod changes nothing', {
      policies: [networkPolicy('shop/a', { podSelector: app('none'), ingress: [] })],
      verdicts: [],
    }),
    ownCase('a rule allows pods of its own namespace by labels', {
      policies: [networkPolicy('shop/a', { ...db, ingress: [{ from: [api] }] })],
      verdicts: ['* -> shop/db denied', 'shop/api -> shop/db allowed'],
    }),
    ownCase('a rule allows all pods of namespaces by labels', {
      policies: [
        networkPolicy('shop/a', {
          ...db,
          ingress: [{ from: [{ namespaceSelector: team('lab') }] }],
        }),
      ],
      verdicts: ['* -> shop/db denied', 'lab/* -> shop/db allowed'],
    }),
    ownCase('both selectors in one peer must match', {
      policies: [
        networkPolicy('shop/a', {
          ...db,
          ingress: [{ from: [{ namespaceSelector: team('lab'), ...web }] }],
        }),
      ],
      verdicts: ['* -> shop/db denied', 'lab/web -> shop/db allowed'],
    }),
    ownCase('of two peers either may match', {
      policies: [
        networkPolicy('shop/a', {
          ...db,
          ingress: [{ from: [{ namespaceSelector: team('lab') }, web] }],
        }),
      ],
      verdicts: ['* -> shop/db denied', 'lab/* -> shop/db allowed', 'shop/web -> shop/db allowed'],
    }),
    ownCase('an empty selector of pods means the own namespace, and one of namespaces all pods', {
      policies: [
        networkPolicy('shop/a', { ...web, ingress: [{ from: [{ podSelector: all }] }] }),
        networkPolicy('lab/a', { ...web, ingress: [{ from: [{ namespaceSelector: all }] }] }),
      ],
      verdicts: [
        '* -> shop/web denied',
        'shop/* -> shop/web allowed',
        // Processes of nodes are not pods.
        'edge/* -> lab/web denied',
      ],
    }),
    ownCase('a rule without peers allows all, pods or not', {
      policies: [networkPolicy('shop/a', { ...web, ingress: [{ from: [] }] })],
      verdicts: [],
    }),
    ownCase('expressions select by presence, absence and values', {
      policies: [
        networkPolicy('shop/a', {
          ...db,
          ingress: [
            {
              from: [
                {
                  namespaceSelector: { matchExpressions: [{ key: 'trusted', operator: 'Exists' }] },
                },
                {
                  podSelector: {
                    matchExpressions: [
                      { key: 'app', operator: 'In', values: ['web', 'api'] },
                      { key: 'stage', operator: 'DoesNotExist' },
                    ],
                  },
                },
                {
                  namespaceSelector: {
                    matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['shop', 'ops'] }],
                  },
                  podSelector: { matchExpressions: [{ key: 'stage', operator: 'Exists' }] },
                },
              ],
            },
          ],
        }),
      ],
      verdicts: [
        '* -> shop/db denied',
        'ops/* -> shop/db allowed',
        'shop/api -> shop/db allowed',
        'lab/web -> shop/db allowed',
      ],
    }),
    ownCase('a rule with a port is about this port of its protocol only', {
      policies: [networkPolicy('shop/a', { ...web, ingress: [{ ports: [port('TCP', 80)] }] })],
      verdicts: ['* -> shop/web denied', '* -> shop/web TCP/80 allowed'],
    }),
    ownCase('a range of ports includes both ends', {
      policies: [
        networkPolicy('shop/a', { ...web, ingress: [{ ports: [port('TCP', 81, 443)] }] }),
        networkPolicy('lab/a', { ...web, ingress: [{ ports: [port('TCP', 80, 442)] }] }),
      ],
      verdicts: [
        '* -> shop/web denied',
        '* -> shop/web TCP/443 allowed',
        '* -> lab/web denied',
        '* -> lab/web TCP/80 allowed',
      ],
    }),
    ownCase('protocols without a port allow all their ports', {
      policies: [
        networkPolicy('shop/a', { ...web, ingress: [{ ports: [port('UDP'), port('SCTP')] }] }),
      ],
      verdicts: [
        '* -> shop/web denied',
        '* -> shop/web UDP/53 allowed',
        '* -> shop/web SCTP/9000 allowed',
      ],
    }),
    ownCase('a named port is that of each pod that receives', {
      policies: [
        networkPolicy('shop/a', { podSelector: all, ingress: [{ ports: [port('TCP', 'http')] }] }),
      ],
      verdicts: [
        '* -> shop/* denied',
        '* -> shop/* TCP/80 allowed',
        '* -> shop/db TCP/80 denied',
        '* -> shop/db TCP/443 allowed',
      ],
    }),
    ownCase('a named port of a sender is that of its destination', {
      policies: [networkPolicy('shop/a', { ...api, egress: [{ ports: [port('TCP', 'http')] }] })],
      verdicts: [
        'shop/api -> * denied',
        'shop/api -> */web TCP/80 allowed',
        'shop/api -> shop/db TCP/443 allowed',
      ],
    }),
    ownCase('only rules without ports allow ICMP', {
      policies: [
        networkPolicy('shop/a', { ...web, ingress: [{ ports: [port('TCP', 1, 65535)] }] }),
        networkPolicy('lab/a', {
          ...web,
          ingress: [{ from: [{ namespaceSelector: team('ops') }] }],
        }),
      ],
      verdicts: [
        '* -> shop/web denied',
        '* -> shop/web TCP/* allowed',
        '* -> lab/web denied',
        'ops/* -> lab/web allowed',
      ],
    }),
    ownCase('a range of addresses has pods, too', {
      policies: [
        networkPolicy('shop/a', {
          ...db,
          ingress: [{ from: blocks(only(addressesOf('lab/job'))) }],
        }),
      ],
      verdicts: ['* -> shop/db denied', 'lab/job -> shop/db allowed'],
    }),
    ownCase('excepted addresses are not in the range', {
      policies: [
        networkPolicy('shop/a', {
          ...db,
          ingress: [
            { from: blocks([pods4, pods6], [...only(addressesOf('lab/job')), ...inTunnels]) },
          ],
        }),
        networkPolicy('shop/b', {
          ...api,
          egress: [{ to: blocks([pods4, pods6], only(addressesOf('ops/probe'))) }],
        }),
      ],
      verdicts: [
        'lab/job -> shop/db denied',
        'edge/* -> shop/db denied',
        'shop/api -> ops/probe denied',
        'shop/api -> edge/* denied',
      ],
    }),
    ownCase('a range may have the address of a node', {
      policies: [
        networkPolicy('shop/a', {
          podSelector: all,
          egress: [{ to: blocks(only(addressesOf('edge/gate-2'))) }],
        }),
      ],
      verdicts: ['shop/* -> * denied', 'shop/* -> edge/gate-2 allowed'],
    }),
    ownCase('an exception of one rule is allowed by another', {
      policies: [
        networkPolicy('shop/a', {
          ...db,
          ingress: [
            { from: blocks([pods4, pods6], [...only(addressesOf('lab/job')), ...inTunnels]) },
            { from: [{ namespaceSelector: team('lab') }], ports: [port('TCP', 80)] },
          ],
        }),
      ],
      verdicts: [
        'lab/job -> shop/db denied',
        'lab/job -> shop/db TCP/80 allowed',
        'edge/* -> shop/db denied',
      ],
    }),
    ownCase('policies add up', {
      policies: [
        networkPolicy('shop/a', { ...web, ingress: [{ from: [api], ports: [port('TCP', 80)] }] }),
        networkPolicy('shop/b', { podSelector: all, ingress: [] }),
        networkPolicy('shop/c', { ...web, ingress: [{ ports: [port('UDP', 53)] }] }),
      ],
      verdicts: [
        '* -> shop/* denied',
        'shop/api -> shop/web TCP/80 allowed',
        '* -> shop/web UDP/53 allowed',
      ],
    }),
    ownCase('the sender and the receiver must both allow', {
      policies: [
        networkPolicy('shop/a', { ...api, egress: [{ to: [db, web] }] }),
        networkPolicy('shop/b', { ...db, ingress: [{ from: [web] }] }),
      ],
      verdicts: [
        'shop/api -> * denied',
        'shop/api -> shop/web allowed',
        '* -> shop/db denied',
        'shop/web -> shop/db allowed',
      ],
    }),
    ownCase(
      'labels of pods change',
      {
        policies: [networkPolicy('shop/a', { ...db, ingress: [{ from: [api] }] })],
        verdicts: ['* -> shop/db denied', 'shop/api -> shop/db allowed'],
      },
      {
        policies: [networkPolicy('shop/a', { ...db, ingress: [{ from: [api] }] })],
        labels: { 'shop/api': { app: 'other' }, 'shop/web': { app: 'api' } },
        verdicts: ['* -> shop/db denied', 'shop/web -> shop/db allowed'],
      },
      {
        policies: [networkPolicy('shop/a', { ...db, ingress: [{ from: [api] }] })],
        labels: { 'shop/db': { app: 'web' } },
        verdicts: [],
      },
    ),
    ownCase(
      'labels of namespaces change',
      {
        policies: [
          networkPolicy('shop/a', {
            ...db,
            ingress: [{ from: [{ namespaceSelector: team('lab') }] }],
          }),
        ],
        verdicts: ['* -> shop/db denied', 'lab/* -> shop/db allowed'],
      },
      {
        policies: [
          networkPolicy('shop/a', {
            ...db,
            ingress: [{ from: [{ namespaceSelector: team('lab') }] }],
          }),
        ],
        namespaceLabels: { lab: { team: 'ops' }, ops: { team: 'lab' } },
        verdicts: ['* -> shop/db denied', 'ops/* -> shop/db allowed'],
      },
    ),
    ownCase(
      'a policy changes and is deleted',
      {
        policies: [networkPolicy('shop/a', { ...db, ingress: [{ from: [api] }] })],
        verdicts: ['* -> shop/db denied', 'shop/api -> shop/db allowed'],
      },
      {
        policies: [networkPolicy('shop/a', { ...db, ingress: [{ from: [web] }] })],
        verdicts: ['* -> shop/db denied', 'shop/web -> shop/db allowed'],
      },
      { policies: [], verdicts: [] },
    ),
  ];
}

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
