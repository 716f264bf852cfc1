import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import {
  changeLink,
  deleteNamespace,
  findLink,
  listRoutes,
  NetlinkSocket,
  NetworkNamespace,
  removeAddress,
  removeRoute,
} from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { checkPodInterfaces, createPodInterface, type PodInterface } from './index.ts';

const platform = nodePlatform();

const podOf = (number: number) =>
  ({
    ...{ name: `hd${number}`, podName: 'eth0', podMac: `02:00:00:00:00:0${number}` },
    ...{ alias: `heddle:pod-${number}`, mtu: 1400 },
    addresses: [{ address: `10.7.0.${number}` }, { address: `fd00:7::${number}` }],
  }) satisfies PodInterface;

test('checkPodInterfaces finds each change of a pod interface, and a pod without a namespace', () => {
  using node = NetworkNamespace.create(platform);
  using socket = node.enter(() => new NetlinkSocket(platform));
  using first = NetworkNamespace.create(platform);
  using hidden = NetworkNamespace.create(platform);
  mkdirSync('/run/netns', { recursive: true });
  const path = `/run/netns/heddle-check-${process.pid}`;
  first.mount(path);
  try {
    const connect = (number: number, namespace: NetworkNamespace) =>
      node.enter(() => createPodInterface(platform, socket, namespace, podOf(number)));
    const { link, peer } = connect(1, first);
    connect(2, hidden);
    const pods = [podOf(1), podOf(2), podOf(3)];
    const check = () => node.enter(() => checkPodInterfaces(platform, socket, pods));
    const problems = () => [...check().get('hd1')!.problems];
    assert.deepEqual(Object.fromEntries(check()), {
      hd1: { problems: [], hasNamespace: true },
      hd2: {
        problems: ["no mount and no process leads to the pod's network namespace"],
        hasNamespace: false,
      },
      hd3: { problems: ['hd3 is gone'], hasNamespace: false },
    });

    using inside = socket.openIn(first.fd);
    const changes: readonly [() => void, RegExp][] = [
      [() => changeLink(socket, link.index, { alias: 'x' }), /^hd1 has the alias "x"$/],
      [() => changeLink(socket, link.index, { mtu: 1300 }), /^hd1 has the MTU 1300, not 1400$/],
      [() => changeLink(inside, peer.index, { mtu: 1300 }), /^eth0 has the MTU 1300, not 1400$/],
      [
        () => removeRoute(socket, listRoutes(socket).find((route) => route.link === link.index)!),
        /^the node has no route to 10\.7\.0\.1 through hd1$/,
      ],
      [
        () => removeRoute(inside, listRoutes(inside).find((route) => route.via !== undefined)!),
        /^the pod has no route to 0\.0\.0\.0\/0 through eth0$/,
      ],
      [() => removeAddress(inside, peer.index, 'fd00:7::1/128'), /^eth0 has no address fd00:7::1$/],
      [
        () => changeLink(inside, peer.index, { address: '02:00:00:00:00:99' }),
        /^eth0 has the link-layer address 02:00:00:00:00:99, not 02:00:00:00:00:01$/,
      ],
      [() => changeLink(inside, peer.index, { up: false }), /^eth0 is down$/],
      [() => changeLink(inside, peer.index, { name: 'eth9' }), /^eth0 is called eth9$/],
      [() => changeLink(socket, link.index, { up: false }), /^hd1 is down$/],
    ];
    let known: string[] = [];
    for (const [change, expected] of changes) {
      change();
      const now = problems();
      // A link that is down loses its routes, so that there may be more than one.
      const added = now.filter((problem) => !known.includes(problem));
      assert.ok(
        added.some((problem) => expected.test(problem)),
        `${expected}: ${added}`,
      );
      known = now;
    }
    assert.ok(findLink(inside, 'eth9'));
  } finally {
    deleteNamespace(platform, path);
  }
});
