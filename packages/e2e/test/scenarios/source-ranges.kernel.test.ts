import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  answers,
  type End,
  ends,
  Front,
  namesOf,
  protocols,
  silence,
} from '../../testing/front.ts';

// Kubernetes' end-to-end test of load balancers has these clients: a pod that the ranges have, one of another node that
// they do not have, and a client outside the cluster.

const everybody: Readonly<Record<End, readonly string[]>> = {
  v4: ['0.0.0.0/1', '128.0.0.0/1'],
  v6: ['::/1', '8000::/1'],
};
const nobody: Readonly<Record<End, readonly string[]>> = {
  v4: ['255.0.0.0/32'],
  v6: ['ffff::/128'],
};

for (const setting of ['everywhere', 'external'] as const) {
  describe(`loadBalancerSourceRanges, sourceRanges ${setting}`, () => {
    test('are given, widened, narrowed and taken away while pods and clients connect', async () => {
      using front = await Front.open(`ranges-${setting}`, `--source-ranges=${setting}`);
      const { here, there, client, node } = front;
      const [server, accepted, other] = here as [
        (typeof here)[0],
        (typeof here)[0],
        (typeof here)[0],
      ];
      // A pod of the other node is, to this one, a client that enters it.
      const elsewhere = there[0]!;
      const isInside = setting === 'external';
      const web = front.expose('web');
      const own = ends.map((end) => `${accepted.addresses[end]}/${end === 'v4' ? 32 : 128}`);
      for (const [ranges, insiders, outsiders] of [
        [undefined, true, true],
        [own, isInside, false],
        [[...everybody.v4, ...everybody.v6], true, true],
        [[...nobody.v4, ...nobody.v6], isInside, false],
        [undefined, true, true],
      ] as const) {
        await web.write([server], { spec: { loadBalancerSourceRanges: ranges } });
        for (const end of ends) {
          for (const protocol of protocols) {
            const to = web.at(web.balancer(end), protocol === 'TCP' ? 'tcp' : 'udp');
            const say = (from: typeof client) => answers(from, protocol, to);
            const served = namesOf(server);
            const text = `${ranges?.join() ?? 'no ranges'}, ${protocol} over IP${end}`;
            assert.deepEqual(say(accepted), insiders || ranges === own ? served : ['EPERM'], text);
            assert.deepEqual(say(other), insiders ? served : ['EPERM'], text);
            assert.deepEqual(say(node), insiders ? served : ['EPERM'], text);
            assert.deepEqual(say(elsewhere), outsiders ? served : silence, text);
            assert.deepEqual(say(client), outsiders ? served : silence, text);
          }
        }
      }
    });
  });
}
