// Packets that an interface has summed (CHECKSUM_COMPLETE), as those out of a tunnel between IPv6 addresses: a
// translation must keep the sum right, or hosts drop what they receive.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { askHttp, askUdp, connectUdp, echoBytes, LabHost, startBackend } from '@heddle/lab';
import { invalidSums } from '../testing/traffic/reachability.ts';
import { TunnelStage } from '../testing/tunnel-stage.ts';

const clusterIPs = { v4: '10.96.0.1', v6: 'fd00:10:96::1' } as const;
const ports = { http: 80, echo: 81, udp: 83, closed: 84 } as const;

for (const underlay of ['v4', 'v6'] as const) {
  describe(`services whose backend is behind a tunnel between ${underlay} addresses`, () => {
    let stage: TunnelStage;
    let machine: LabHost;
    before(async () => {
      stage = new TunnelStage(`services-${underlay}`, 2, { underlay, outside: 1 });
      await startBackend(stage.pod(2), { http: [80], echo: [81], udp: [83] });
      for (const family of ['v4', 'v6'] as const) {
        for (const [name, port] of Object.entries(ports)) {
          stage.serve(1, {
            protocol: name === 'http' || name === 'echo' ? 'TCP' : 'UDP',
            frontends: [
              { address: clusterIPs[family], port },
              { address: stage.lab.nodes[0]!.addresses[family], port: 30_000 + port },
            ],
            backends: [{ address: stage.pod(2).addresses[family], port }],
          });
        }
      }
      // Its sockets are in no cgroup of the node, as those of a virtual machine: its interface translates.
      const { platform, name, netnsPath, addresses } = stage.pod(1);
      const { cgroup } = stage.lab.underlay;
      machine = new LabHost(platform, { name, netnsPath, addresses, cgroup });
    });
    after(() => stage?.[Symbol.dispose]());

    for (const family of ['v4', 'v6'] as const) {
      for (const from of ['a pod', 'an external client'] as const) {
        test(`reply to ${from} with valid checksums, ${family}`, () => {
          const client = from === 'a pod' ? machine : stage.lab.outside[0]!;
          const at = (port: number) =>
            from === 'a pod'
              ? { address: clusterIPs[family], port }
              : { address: stage.lab.nodes[0]!.addresses[family], port: 30_000 + port };
          const hosts = [client, stage.pod(2)];
          const before = hosts.map(invalidSums);
          assert.equal(askHttp(client, at(ports.http)), stage.pod(2).name);
          echoBytes(client, at(ports.echo), 500_000);
          for (const size of [1, 100, 1000, 4000]) {
            const text = 'x'.repeat(size);
            assert.equal(askUdp(client, at(ports.udp), text), `${stage.pod(2).name} ${text}`);
          }
          using socket = connectUdp(client, at(ports.closed));
          socket.send('nobody listens');
          assert.throws(() => socket.receive(), { code: 'ECONNREFUSED' });
          assert.deepEqual(hosts.map(invalidSums), before);
        });
      }
    }
  });
}
