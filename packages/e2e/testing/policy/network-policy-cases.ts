import type { Addresses } from '@heddle/lab';
import { only, ownCase, pods4, pods6 } from './own-cases.ts';
import { all, app, networkPolicy, port, team } from './own-objects.ts';
import type { PolicyCase } from './policy-case.ts';

// Cases of NetworkPolicies, in the words of their definition: objects, and which connections they deny.

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
