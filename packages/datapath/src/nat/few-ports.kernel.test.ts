import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { askHttp } from '@heddle/lab';
import { testNat } from '../../testing/nat.ts';
import { ends, openCluster } from '../../testing/north-south.ts';

// A backend that closes first keeps its end of a connection in TIME-WAIT for a minute.
describe('more connections than SNAT ports, one after the other', () => {
  for (const end of ends) {
    test(`each connection is made, ${end}`, async (t) => {
      const nat = { ...testNat, ports: { first: 5000, last: 5049 } };
      using cluster = await openCluster('few-ports', { name: 'snat/tc', datapath: { nat } });
      const [here, there] = cluster.lab.nodes;
      const client = cluster.lab.outside[0]!;
      const pod = there!.pods[0]!;
      const service = cluster.serve({ pods: [pod] });
      const times: number[] = [];
      for (let i = 0; i < 200; i++) {
        const begin = performance.now();
        assert.equal(
          askHttp(client, service.nodePort('http', here!, end), '/name', 5000),
          pod.name,
        );
        times.push(performance.now() - begin);
      }
      const slow = times.filter((time) => time > 500).length;
      t.diagnostic(`${slow} of ${times.length} took longer than half a second`);
    });
  }
});
