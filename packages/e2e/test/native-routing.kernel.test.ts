// `routing: native`: the network between the nodes has the routes to pods. Nodes 1 and 2 are on one link, node 3 is
// behind a router, and node 2 is a router to it as well.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BlockingSocket, type Lab, type LabHost, type LabNode, Tap } from '@heddle/lab';
import {
  AF_INET,
  AF_INET6,
  addRoutingRule,
  type RoutingRule,
  removeRoutingRule,
  replaceRoute,
} from '@heddle/netlink';
import { encodeInt, IPPROTO_IP, IPPROTO_IPV6 } from '@heddle/sys/net';
import {
  assertPings,
  assertReaches,
  exchange,
  forwardedPackets,
} from '../testing/traffic/reachability.ts';
import { TunnelStage } from '../testing/tunnel-stage.ts';

const families = ['v4', 'v6'] as const;
type Family = (typeof families)[number];
const bits = { v4: 32, v6: 128 } as const;
const underlayMac = '02:00:c0:00:02:fe';
const otherMac = '02:00:c0:00:02:02';
const flows = Array.from({ length: 32 }, (_, i) => 40_000 + 7 * i);
const ownTable = 100;
// linux/in.h, linux/in6.h, linux/ip.h
const IP_TOS = 1;
const IPV6_TCLASS = 67;
const lowDelay = 0x10;

/** Sends two datagrams of each flow from a pod, and returns the routers that get them, by source port. */
function routersOf(
  lab: Lab,
  family: Family,
  destination: string,
  { tos = 0, port: dport = 9 } = {},
): Map<number, string> {
  const [node] = lab.nodes;
  const pod = node!.pods[0]!;
  using tap = Tap.open(node!, 'eth0');
  const open = () =>
    BlockingSocket.open(pod.platform, { protocol: 'udp', family: family === 'v4' ? 4 : 6 });
  for (const port of flows) {
    // An unconnected socket has no hash of its own, so that the kernel's choice depends on the packet only.
    using socket = pod.enter(open);
    socket.bind({ address: pod.addresses[family], port });
    if (family === 'v4') socket.setOption(IPPROTO_IP, IP_TOS, encodeInt(tos));
    else socket.setOption(IPPROTO_IPV6, IPV6_TCLASS, encodeInt(tos));
    for (const text of ['first', 'second']) {
      socket.send(text, { address: destination, port: dport });
    }
  }
  const found = new Map<number, Set<string>>();
  for (const { direction, packet } of tap.drain()) {
    const udp = packet.layer('udp');
    if (direction !== 'out' || udp?.dport !== dport) continue;
    const routers = found.get(udp.sport) ?? new Set<string>();
    found.set(udp.sport, routers.add(packet.layer('eth')!.dst!));
  }
  for (const [port, routers] of found) {
    assert.equal(routers.size, 1, `the datagrams from port ${port} go to ${[...routers]}`);
  }
  return new Map([...found].map(([port, [router]]) => [port, router!]));
}

/** Gives the first node two routes of equal cost to the pods of the last. */
function addSecondRouter(lab: Lab): void {
  const [node, router] = lab.nodes;
  const link = node!.link('eth0').index;
  // The kernel's default for IPv4 is one path for all flows between two addresses.
  node!.setSysctl('net/ipv4/fib_multipath_hash_policy', 1);
  for (const each of ['all', 'eth0']) router!.setSysctl(`net/ipv4/conf/${each}/send_redirects`, 0);
  node!.configure((socket) => {
    for (const [destination, first] of [
      ['10.244.3.0/24', '192.0.2.254'],
      ['fd00:10:244:3::/64', 'fd00:192:0:2::254'],
    ] as const) {
      const second = router!.addresses[destination.includes(':') ? 'v6' : 'v4'];
      replaceRoute(socket, {
        destination,
        nextHops: [
          { via: first, link },
          { via: second, link },
        ],
      });
    }
  });
}

describe('native routing', () => {
  let stage: TunnelStage;
  const kernel = new Map<Family, Map<number, string>>();
  before(() => {
    stage = new TunnelStage('native', 3, {
      ...{ mode: 'native', outside: 1 },
      before: (lab) => {
        addSecondRouter(lab);
        for (const family of families) {
          const to = lab.nodes[2]!.pods[0]!.addresses[family];
          kernel.set(family, routersOf(lab, family, to));
        }
      },
    });
  });
  after(() => stage?.[Symbol.dispose]());

  for (const family of families) {
    test(`pods and nodes reach pods by the routes of the network, past the stack, ${family}`, () => {
      const [one, , three] = stage.lab.nodes;
      const forwarded = () =>
        [one!, three!].map((node) => node.enter(() => forwardedPackets(family)));
      const before = forwarded();
      for (const [from, to] of [
        [1, 2],
        [1, 3],
        [3, 1],
      ] as const) {
        exchange(stage.pod(from), stage.pod(to), family, { bytes: 500_000 });
      }
      assert.deepEqual(forwarded(), before);
      assertReaches(stage.pod(1), stage.pod(3), family);
      assertPings(stage.pod(1), stage.pod(3).addresses[family], 1500);
      const hosts: readonly [LabHost, LabHost][] = [
        [one!, stage.pod(3)],
        [stage.pod(3), one!],
      ];
      for (const [from, to] of hosts) exchange(from, to, family, { bytes: 10_000 });
    });

    test(`each flow takes the path of several that the kernel chooses for it, ${family}`, () => {
      const found = routersOf(stage.lab, family, stage.pod(3).addresses[family]);
      assert.deepEqual(new Set(found.values()), new Set([underlayMac, otherMac]));
      assert.deepEqual(found, kernel.get(family));
    });

    test(`rules lead packets of a pod, and of a type of service, elsewhere, ${family}`, () => {
      const [node, router] = stage.lab.nodes;
      const outside = stage.lab.outside[0]!.addresses[family];
      // The programs remember the route of a masqueraded flow for a quarter of a second, so each time has its own flows.
      let port = 10;
      const routers = (to: string, tos = 0) => [
        ...new Set(routersOf(stage.lab, family, to, { tos, port: port++ }).values()),
      ];
      node!.configure((socket) =>
        replaceRoute(socket, {
          destination: family === 'v4' ? '0.0.0.0/0' : '::/0',
          via: router!.addresses[family],
          link: node!.link('eth0').index,
          table: ownTable,
        }),
      );
      assert.deepEqual(routers(outside), [underlayMac]);
      {
        using _ = rule(node!, family, {
          source: `${stage.pod(1).addresses[family]}/${bits[family]}`,
        });
        assert.deepEqual(routers(outside), [otherMac]);
        assert.deepEqual(routers(stage.pod(3).addresses[family]), [otherMac]);
        exchange(stage.pod(1), stage.pod(3), family, { bytes: 10_000 });
      }
      using _ = rule(node!, family, { tos: lowDelay });
      assert.deepEqual(routers(outside), [underlayMac]);
      assert.deepEqual(routers(outside, lowDelay), [otherMac]);
    });
  }
});

/** Has packets use the table `ownTable` until the rule is disposed of. */
function rule(node: LabNode, end: Family, conditions: Partial<RoutingRule>): Disposable {
  const family = end === 'v4' ? AF_INET : AF_INET6;
  const rule: RoutingRule = { ...conditions, family, table: ownTable, priority: 100 };
  node.configure((socket) => addRoutingRule(socket, rule));
  return {
    [Symbol.dispose]() {
      node.configure((socket) => removeRoutingRule(socket, rule));
    },
  };
}
