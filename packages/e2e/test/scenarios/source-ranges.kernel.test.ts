import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  answers,
  ExternalLab,
  type IpVersion,
  ipVersions,
  namesOf,
  noReply,
  protocols,
} from '../../testing/external-lab.ts';

// Kubernetes' end-to-end test of load balancers has these clients: a pod in the ranges, one on
// another node that is not, and an external client.

const everybody: Readonly<Record<IpVersion, readonly string[]>> = {
  v4: ['0.0.0.0/1', '128.0.0.0/1'],
  v6: ['::/1', '8000::/1'],
};
const nobody: Readonly<Record<IpVersion, readonly string[]>> = {
  v4: ['255.0.0.0/32'],
  v6: ['ffff::/128'],
};

for (const setting of ['everywhere', 'external'] as const) {
  describe(`loadBalancerSourceRanges, sourceRanges ${setting}`, () => {
    test('source ranges are added, widened, narrowed and removed while pods and external clients connect', async () => {
      using setup = await ExternalLab.open(`ranges-${setting}`, `--source-ranges=${setting}`);
      const { here, there, client, node } = setup;
      const [server, accepted, other] = here as [
        (typeof here)[0],
        (typeof here)[0],
        (typeof here)[0],
      ];
      // A pod of the other node is external to this node.
      const elsewhere = there[0]!;
      const isInside = setting === 'external';
      const web = setup.expose('web');
      const own = ipVersions.map((end) => `${accepted.addresses[end]}/${end === 'v4' ? 32 : 128}`);
      for (const [ranges, insiders, outsiders] of [
        [undefined, true, true],
        [own, isInside, false],
        [[...everybody.v4, ...everybody.v6], true, true],
        [[...nobody.v4, ...nobody.v6], isInside, false],
        [undefined, true, true],
      ] as const) {
        await web.write([server], { spec: { loadBalancerSourceRanges: ranges } });
        for (const end of ipVersions) {
          for (const protocol of protocols) {
            const to = web.at(web.balancer(end), protocol === 'TCP' ? 'tcp' : 'udp');
            const say = (from: typeof client) => answers(from, protocol, to);
            const served = namesOf(server);
            const text = `${ranges?.join() ?? 'no ranges'}, ${protocol} over IP${end}`;
            assert.deepEqual(say(accepted), insiders || ranges === own ? served : ['EPERM'], text);
            assert.deepEqual(say(other), insiders ? served : ['EPERM'], text);
            assert.deepEqual(say(node), insiders ? served : ['EPERM'], text);
            assert.deepEqual(say(elsewhere), outsiders ? served : noReply, text);
            assert.deepEqual(say(client), outsiders ? served : noReply, text);
          }
        }
      }
    });
  });
}
