// Beside rules of others that track connections: those drop what netfilter takes for invalid, or give a
// pod's own connections the node's address. Both must leave a service's replies alone.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import {
  askUdp,
  connectTcp,
  connectUdp,
  type LabHost,
  type LabNode,
  type LabPod,
} from '@heddle/lab';
import type { Cluster, End, Served } from '../../testing/cluster.ts';
import {
  clientSeenAt,
  converse,
  ends,
  exchange,
  machineIn,
  modes,
  openCluster,
  startOf,
  text,
} from '../../testing/north-south.ts';

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
const skip = spawnSync('nft', ['--version'], { env }).error && 'nft is not installed';

const firewall = `table inet firewall {
  chain forward {
    type filter hook forward priority 0;
    ct state invalid counter drop
    ct state established counter
  }
}
`;
/** The rules by which network plugins masquerade the pods' external traffic. */
const masquerade = `table inet plugin {
  chain postrouting {
    type nat hook postrouting priority 100;
    ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade
    ip6 saddr fd00:10:244::/48 ip6 daddr != fd00:10:244::/48 masquerade
  }
}
`;

const unanswered = { name: 'SysError', code: /^(EALREADY|EAGAIN|ETIMEDOUT)$/ };

for (const mode of modes) {
  describe(`services beside rules that track connections, ${mode.name}`, { skip }, () => {
    let cluster: Cluster;
    let a: LabNode;
    let b: LabNode;
    let client: LabHost;
    let other: LabHost;
    before(async () => {
      cluster = await openCluster('netfilter', mode);
      [a, b] = cluster.lab.nodes as [LabNode, LabNode];
      [client, other] = cluster.lab.outside as [LabHost, LabHost];
    });
    after(() => cluster?.[Symbol.dispose]());

    const nft = (...args: string[]) =>
      a.enter(() => execFileSync('nft', args, { env, encoding: 'utf8' }));
    const write = (rules: string) =>
      a.enter(() => execFileSync('nft', ['-f', '-'], { env, input: rules }));
    const track = (tracked: boolean) => cluster.datapath(a).nat.setTracked(tracked);
    const servedBy = (pod: LabPod) => cluster.serve({ pods: [pod] });
    const everything = (service: Served, pod: LabPod, end: End) => {
      converse(client, (port) => service.nodePort(port, a, end), pod.name);
      // Larger than the link: each fragment is translated.
      const large = 'x'.repeat(4000);
      assert.equal(askUdp(client, service.nodePort('udp', a, end), large), `${pod.name} ${large}`);
    };

    for (const [what, rules] of Object.entries({
      'what is invalid is dropped': firewall,
      'pods are masqueraded': masquerade,
      'both, as on most nodes': firewall + masquerade,
    })) {
      test(`${what}: services reach local and remote pods`, () => {
        const [here, there] = [a.pods[0]!, b.pods[0]!];
        const [local, remote] = [servedBy(here), servedBy(there)];
        try {
          for (const end of ends) {
            track(false);
            // Begun before the rules came, on the direct way.
            using early = connectTcp(client, local.nodePort('echo', a, end));
            exchange(early, 'before');
            write(rules);
            track(true);
            exchange(early, 'after');
            for (let i = 0; i < 20; i++) exchange(early, `and on, ${i}`);

            everything(local, here, end);
            everything(remote, there, end);
            // By another node, which may tunnel them here.
            converse(client, (port) => local.nodePort(port, b, end), here.name);
            const seen = clientSeenAt(other, local.nodePort('http', a, end));
            assert.ok(seen.startsWith(startOf(other.addresses[end])), 'the pod sees the client');
            using udp = connectUdp(other, local.nodePort('udp', a, end));
            for (let i = 0; i < 3; i++) {
              udp.send(`${i}`);
              assert.equal(text(udp.receive()), `${here.name} ${i}`);
            }
            // A pod's own connections are none of a service's.
            assert.ok(askUdp(client, { address: here.addresses[end], port: 8083 }, 'x'));
            nft('flush', 'ruleset');
          }
        } finally {
          nft('flush', 'ruleset');
          track(false);
          cluster.remove(local);
          cluster.remove(remote);
        }
      });
    }

    test("rules for the node's own packets leave the direct path of services alone", () => {
      // The rule of KUBE-FIREWALL has netfilter track all connections, but sees none of a pod.
      const localnet = 'fib daddr type local ct state != { established, related } counter';
      write(`table inet kubelet {
        chain input { type filter hook input priority 0; iifname != lo ip daddr 127.0.0.0/8 ${localnet} drop; }
        chain output { type filter hook output priority 0; ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 ${localnet} drop; }
      }`);
      try {
        track(false);
        for (const pod of [a.pods[0]!, b.pods[0]!]) {
          const service = servedBy(pod);
          for (const end of ends) everything(service, pod, end);
          for (const end of ends)
            converse(client, (port) => service.nodePort(port, b, end), pod.name);
          cluster.remove(service);
        }
      } finally {
        nft('flush', 'ruleset');
      }
    });

    test('a pod outside of the cgroup reaches services and itself', () => {
      const inside = machineIn(a.pods[0]!, cluster);
      cluster.servePods();
      write(firewall + masquerade);
      try {
        for (const tracked of [true, false]) {
          track(tracked);
          for (const pod of [a.pods[0]!, a.pods[1]!, b.pods[0]!]) {
            const service = servedBy(pod);
            for (const end of ends) {
              converse(inside, (port) => service.at(port, service.clusterIP(end)), pod.name);
              converse(inside, (port) => service.nodePort(port, a, end), pod.name);
            }
            cluster.remove(service);
          }
        }
      } finally {
        nft('flush', 'ruleset');
        track(false);
      }
    });

    test('netfilter tracks both directions, and no packet is invalid', () => {
      const [pod] = a.pods;
      const service = servedBy(pod!);
      write(firewall);
      try {
        const counts = () =>
          [...nft('list', 'table', 'inet', 'firewall').matchAll(/packets (\d+)/g)].map(([, n]) =>
            Number(n),
          );
        track(true);
        for (const end of ends) everything(service, pod!, end);
        const [invalid, established] = counts();
        assert.equal(invalid, 0);
        assert.ok(established! > 100);
        // If netfilter doesn't see the requests, its rules drop the replies, so the checks above depend on tracking.
        track(false);
        for (const end of ends) {
          assert.throws(
            () => connectTcp(client, service.nodePort('echo', a, end), 300),
            unanswered,
          );
        }
        assert.ok(counts()[0]! > 0);
        nft('flush', 'ruleset');
        write(masquerade);
        for (const end of ends) {
          const to = service.nodePort('udp', a, end);
          assert.throws(() => askUdp(client, to, 'x', 300), unanswered);
        }
      } finally {
        nft('flush', 'ruleset');
        track(false);
        cluster.remove(service);
      }
    });
  });
}
