import { objects } from '@heddle/assets';
import { type Datapath, defaultNat, openDatapath } from '@heddle/datapath';
import { LinuxBpf } from '@heddle/ebpf';
import type { LabNode } from '@heddle/lab';
import type { NodeRoute } from '@heddle/podnet';
import type { NodePath } from '@heddle/routes';
import type { Platform } from '@heddle/sys';

// Nodes of a lab whose datapath a test opens in its own process, without an agent.

/** Opens the datapath of a node with the pod network. `flows` is the size of the conntrack table. */
export function openNodeDatapath(
  platform: Platform,
  node: LabNode,
  flows: number,
  visibility = false,
): Datapath {
  return openDatapath({
    platform,
    bpf: new LinuxBpf(platform),
    objects,
    bpffs: node.bpffs,
    cgroup: node.cgroup,
    sizes: { services: 100, backends: 100, slots: 1000, affinity: 100, flows },
    netnsCookie: node.netnsCookie,
    nat: defaultNat,
    network: { tunnelPort: 8472, visibility },
    options: { terminateTcp: false },
  });
}

/** Returns the ranges of the addresses of a node's pods. */
export function rangesOf({ number }: LabNode): string[] {
  return [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`];
}

/** Returns the route of the kernel for a path to another node's pods. */
export function kernelRoute(destination: string, path: NodePath): NodeRoute {
  const { link, via, mode, from, source } = path;
  return mode === 'direct'
    ? { destination, link: link!, via: via! }
    : { destination, link: link!, tunnelTo: via!, tunnelFrom: from!, source: source! };
}
