// Network policies with real packets over IPv4 and IPv6: own cases on two nodes, whose policies this process programs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { features, LinuxBpf } from '@heddle/ebpf';
import { nodePlatform } from '@heddle/sys/node';
import { clusterPolicyCases } from '../testing/policy/cluster-policy-cases.ts';
import { DirectPolicyLab } from '../testing/policy/direct-lab.ts';
import { networkPolicyCases } from '../testing/policy/network-policy-cases.ts';
import { ownPods, ownPorts } from '../testing/policy/own-cases.ts';
import { CasePlayer } from '../testing/policy/player.ts';

const hasNetkit = features(new LinuxBpf(nodePlatform(() => {}))).has('link/netkit');

for (const [kind, path] of [
  ['veth', 'direct'],
  ['veth', 'tunnel'],
  ['netkit', 'direct'],
  ['netkit', 'tunnel'],
] as const) {
  const skip =
    kind === 'netkit' && !hasNetkit && 'the kernel has no netkit (Linux 6.8 with CONFIG_NETKIT)';
  describe(`network policies of pods with ${kind}, ${path} between nodes`, { skip }, () => {
    let lab: DirectPolicyLab;
    let player: CasePlayer;
    before(async () => {
      lab = new DirectPolicyLab(`policies-${kind}-${path}`, path, kind);
      player = new CasePlayer(lab, ownPorts);
      await player.connect(ownPods.map((spec) => ({ spec })));
    });
    after(() => {
      player?.[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });

    const addressesOf = (pod: string) => lab.hostOf(pod).addresses;
    for (const [what, cases] of [
      ['NetworkPolicies', networkPolicyCases],
      ['ClusterNetworkPolicies', clusterPolicyCases],
    ] as const) {
      test(`${what} allow and deny what their definition says`, async () => {
        const { report, counts } = await player.play(cases(addressesOf));
        assert.equal(report, '');
        for (const family of ['IPv4', 'IPv6']) {
          for (const protocol of ['TCP', 'UDP', 'SCTP', 'ICMP']) {
            for (const verdict of ['allowed', 'denied']) {
              const played = counts.get(`${family} ${protocol} ${verdict}`) ?? 0;
              assert.ok(played > 0, `${family} ${protocol} ${verdict}`);
            }
          }
        }
      });
    }
  });
}
