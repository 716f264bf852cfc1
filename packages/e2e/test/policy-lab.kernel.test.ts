// The lab of network policies itself: probes that nothing denies are answered, and others are not taken for denied ones.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { addRoute } from '@heddle/netlink';
import { CasePlayer } from '../testing/policy/player.ts';
import type { ExpectedProbe, PolicyStep } from '../testing/policy/policy-case.ts';
import { type NodePath, PolicyLab, podKey } from '../testing/policy/policy-lab.ts';

const pods = ['web', 'db', 'cache', 'host-1', 'host-2'].map((name, i) => ({
  ...{ namespace: 'shop', name, labels: { app: name }, ports: [] },
  ...{ node: 1 + (i % 2), hostNetwork: name.startsWith('host') },
}));
const ports = { TCP: [80], UDP: [53], SCTP: [9000] };
const services = [
  ['TCP', 80],
  ['UDP', 53],
  ['SCTP', 9000],
  ['ICMP', 0],
] as const;

function step(of: Partial<ExpectedProbe> = {}): PolicyStep {
  const expected = pods.flatMap((from) =>
    pods
      .filter((to) => to !== from && !(to.hostNetwork && from.hostNetwork))
      .flatMap((to) =>
        services.map(([protocol, port]) => ({
          ...{ from: podKey(from), to: podKey(to), protocol, port, allowed: true, ...of },
        })),
      ),
  );
  return { namespaces: new Map([['shop', { team: 'shop' }]]), pods, policies: [], expected };
}

for (const path of ['direct', 'tunnel'] satisfies NodePath[]) {
  describe(`pods of two nodes without policies, ${path}`, () => {
    let lab: PolicyLab;
    let player: CasePlayer;
    before(async () => {
      lab = new PolicyLab(`policy-${path}`, path);
      await lab.start();
      player = new CasePlayer(lab, ports);
      await player.connect(pods.map((spec) => ({ spec })));
    });
    after(() => {
      player?.[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });

    test('answer over TCP, UDP, SCTP and ICMP, of both families', async () => {
      const { counts, report } = await player.play([{ title: 'all', steps: [step()] }]);
      assert.equal(report, '');
      assert.deepEqual(
        [...counts].sort(),
        ['IPv4', 'IPv6'].flatMap((family) =>
          ['ICMP', 'SCTP', 'TCP', 'UDP'].map((protocol) => [`${family} ${protocol} allowed`, 18]),
        ),
      );
    });

    test('are not taken for denied where they answer, or refuse, or nobody listens', async () => {
      const denied = step({ allowed: false });
      const outcomes = async (expected: readonly ExpectedProbe[]) => {
        const { mismatches } = await player.play([
          { title: 'denied', steps: [{ ...denied, expected }] },
        ]);
        return [...new Set(mismatches.map(({ outcome }) => outcome))];
      };
      assert.deepEqual(await outcomes(denied.expected), ['answered']);
      const [first] = denied.expected;
      const other = (protocol: 'TCP' | 'UDP' | 'SCTP') =>
        outcomes([{ ...first!, protocol, port: 81 }]);
      assert.deepEqual(await other('TCP'), ['refused: error 111']);
      assert.deepEqual(await other('UDP'), ['refused: ICMP error 3/3', 'refused: ICMP error 1/4']);
      assert.deepEqual(await other('SCTP'), ['refused: ABORT']);
    });

    test('are lost, and not denied, where no drop explains the silence', async () => {
      // The server's host has no route back.
      const [client, server] = ['shop/web', 'shop/db'].map((key) => lab.hostOf(key));
      server!.configure((socket) => {
        for (const address of Object.values(client!.addresses)) {
          const destination = `${address}/${address.includes(':') ? 128 : 32}`;
          addRoute(socket, { destination, type: 'blackhole' });
        }
      });
      const { expected } = step({ allowed: false });
      const ofPair = expected.filter(({ from, to }) => from === 'shop/web' && to === 'shop/db');
      const { mismatches } = await player.play([
        { title: 'no way back', steps: [{ ...step(), expected: ofPair }] },
      ]);
      const outcomes = mismatches.map(
        ({ expected: { protocol }, outcome }) => `${protocol} ${outcome}`,
      );
      assert.deepEqual(
        [...new Set(outcomes)],
        ['TCP lost', 'UDP leaked', 'SCTP leaked', 'ICMP lost'],
      );
    });
  });
}
