import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askHttp, askUdp, assertPacket, eth, ipv4, ipv6, type LabOptions, Tap } from '@heddle/lab';
import { Cluster } from '../../testing/cluster.ts';

const ends = ['v4', 'v6'] as const;

async function clusterOf(options: LabOptions): Promise<Cluster> {
  const cluster = new Cluster({ nodes: 2, podsPerNode: 2, outside: 2, ...options });
  try {
    await cluster.start();
    return cluster;
  } catch (error) {
    cluster[Symbol.dispose]();
    throw error;
  }
}

test("an ICMP error of a pod reaches the client with the service's address", async () => {
  using cluster = await clusterOf({ name: 'closed' });
  const [a, b] = cluster.lab.nodes;
  const [client] = cluster.lab.outside;
  for (const home of [a!, b!]) {
    const service = cluster.serve({ pods: [home.pods[0]!], targetPorts: { http: 9, udp: 9 } });
    for (const end of ends) {
      const tcp = service.nodePort('http', a!, end);
      assert.throws(() => askHttp(client!, tcp), { code: 'ECONNREFUSED' });
      const udp = service.nodePort('udp', a!, end);
      assert.throws(() => askUdp(client!, udp, 'anybody?'), { code: 'ECONNREFUSED' });
      // With a checksum that is not left to the device, as on a real wire.
      const ip = { src: client!.addresses[end], dst: a!.addresses[end] };
      const ports = { sport: 4000, dport: udp.port };
      const datagram = (hops: number) =>
        (end === 'v4' ? ipv4({ ...ip, ttl: hops }) : ipv6({ ...ip, hopLimit: hops }))
          .udp(ports)
          .payload('anybody?');
      using tap = Tap.open(client!, 'eth0');
      tap.send(datagram(64).within(eth(client!.firstHop)));
      const { packet } = tap.find('error', (each) => `${each.packet}`.includes('port-unreachable'));
      assert.ok(`${packet}`.includes(`${a!.addresses[end]} > ${client!.addresses[end]} `));
      const hops = 64 - (home === a ? 2 : 3);
      assertPacket(packet.embedded!.bytes, datagram(hops));
    }
    cluster.remove(service);
  }
});
