// Packets by which pods and other hosts may try to reach a pod whose policies do not let them: none arrives.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BlockingSocket, type Captured, eth, type LabHost, type Packet, Tap } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import {
  type Attack,
  attacks,
  type Family,
  forgeries,
  type Scene,
} from '../testing/policy/attacks.ts';
import { DirectPolicyLab } from '../testing/policy/direct-lab.ts';
import { all, networkPolicy, team } from '../testing/policy/own-objects.ts';
import { type NodePath, namespaceObject } from '../testing/policy/policy-lab.ts';

const ends = ['v4', 'v6'] as const;
const routers = { v4: '169.254.1.1', v6: 'fe80::1' };
/** The victim's policy: pods of its own namespace only. */
const policy = networkPolicy('safe/own', {
  podSelector: all,
  ingress: [{ from: [{ namespaceSelector: team('safe') }] }],
});

for (const path of ['direct', 'tunnel'] satisfies NodePath[]) {
  describe(`a pod that policies protect, ${path} between nodes`, () => {
    let lab: DirectPolicyLab;
    let victim: LabHost;
    let friend: LabHost;
    /** The hosts that attack: pods of both nodes, an outside host, and one on the link of the nodes. */
    const attackers = new Map<string, LabHost>();
    const taps = new Map<string, Tap>();
    let watch: Tap;
    let marks = 0;

    before(async () => {
      lab = new DirectPolicyLab(`attacks-${path}`, path);
      lab.change({
        put: [namespaceObject('safe', { team: 'safe' }), namespaceObject('evil', { team: 'evil' })],
      });
      const pod = (namespace: string, name: string, node: number) =>
        lab.connect({ namespace, name, labels: {}, node, ports: [] });
      victim = await pod('safe', 'vault', 1);
      friend = await pod('safe', 'friend', 1);
      attackers.set('a pod of the same node', await pod('evil', 'near', 1));
      attackers.set('a pod of the other node', await pod('evil', 'far', 2));
      attackers.set('a host of the link', lab.lab.underlay);
      for (const [name, host] of attackers) {
        taps.set(name, Tap.open(host, host === lab.lab.underlay ? 'port1' : 'eth0'));
      }
      watch = Tap.open(victim, 'eth0');
      await lab.apply({ put: [policy] });
    });
    after(() => {
      watch?.[Symbol.dispose]();
      for (const tap of taps.values()) tap[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });

    function sceneOf(host: LabHost, family: Family): Scene {
      const [one, two] = [lab.lab.nodes[0]!, lab.lab.nodes[1]!];
      return {
        family,
        attacker: host.addresses[family],
        victim: victim.addresses[family],
        friend: friend.addresses[family],
        nodes: [one.addresses[family], two.addresses[family]],
        router: routers[family],
      };
    }

    function send(name: string, packet: Packet): void {
      const host = attackers.get(name)!;
      const hop =
        host === lab.lab.underlay
          ? { src: host.link('br0').address, dst: lab.lab.nodes[0]!.link('eth0').address }
          : host.firstHop;
      taps.get(name)!.send(packet.within(eth(hop)));
    }

    /** Returns the packets for the victim that have arrived, after one that is allowed has. */
    function arrivals(family: Family): Captured[] {
      const text = `mark ${++marks}`;
      using socket = friend.enter(() =>
        BlockingSocket.open(lab.platform, { protocol: 'udp', family: family === 'v4' ? 4 : 6 }),
      );
      const found: Captured[] = [];
      socket.send(text, { address: victim.addresses[family], port: 9 });
      watch.find('the mark', (captured) => {
        const { packet, direction } = captured;
        const content = packet.layer('payload');
        if (content && decodeUtf8(content.bytes) === text) return true;
        const ip = packet.layer('ipv4') ?? packet.layer('ipv6');
        const type = packet.layer('icmpv6')?.type ?? '';
        // Neighbour discovery between the pod and its node goes on.
        const isOfLink = /(solicitation|advertisement)$/.test(type);
        const isForVictim = direction === 'in' && ip?.dst === victim.addresses[family];
        if (isForVictim && !isOfLink) found.push(captured);
        return false;
      });
      return found;
    }

    const who = ['a pod of the same node', 'a pod of the other node', 'a host of the link'];
    for (const attacker of who) {
      test(`gets nothing from ${attacker}`, async () => {
        const tried = (
          list: readonly Attack[],
          check: (attack: Attack, got: Captured[]) => void,
        ) => {
          for (const family of ends) {
            const scene = sceneOf(attackers.get(attacker)!, family);
            for (const attack of list) {
              watch.drain();
              for (const packet of attack.packets(scene)) send(attacker, packet);
              check(attack, arrivals(family));
            }
          }
        };
        const none = ({ title }: Attack, got: Captured[]) =>
          assert.deepEqual(
            got.map(({ packet }) => `${packet}`),
            [],
            title,
          );
        tried([...attacks, ...forgeries], none);
        // Without the policy the same packets arrive. Pods still cannot forge any.
        await lab.apply({ remove: [policy] });
        try {
          tried(attacks, ({ title }, got) => assert.ok(got.length > 0, title));
          if (attacker.includes('pod')) tried(forgeries, none);
        } finally {
          await lab.apply({ put: [policy] });
        }
      });
    }
  });
}
