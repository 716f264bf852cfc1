import { once } from 'node:events';
import type { Lab, LabNode } from '@heddle/lab';
import { podCidr, services } from '../catalog.ts';
import { kubeRouterRules, queueRules } from '../policy/netfilter-rules.ts';
import { scaleOf } from '../policy/objects.ts';
import { measuredPods, type SiteName } from '../sites.ts';
import type { Balancer } from './balancer.ts';
import { iptablesRules } from './iptables-rules.ts';
import { nftablesRules } from './nftables-rules.ts';

/**
 * kube-proxy in iptables mode. The rules go through the kernel's own x_tables (`legacy`): a linear
 * list of rules costs less there than through the nftables translation of the same command.
 */
export function iptables(lab: Lab, site: SiteName): Balancer {
  return netfilter(lab, 'iptables', {
    command: ['iptables-legacy-restore'],
    rules: (count) => iptablesRules(services(count, site)),
  });
}

/** kube-proxy in nftables mode. */
export function nftables(lab: Lab, site: SiteName): Balancer {
  return netfilter(lab, 'nftables', {
    command: ['nft', '-f', '-'],
    rules: (count) => nftablesRules(services(count, site)),
    // Measured: 0.3 s for 1,000, 3.7 s for 5,000, and not done after 170 s with 50,000.
    most: 10_000,
    why: 'loading takes minutes: the kernel numbers the anonymous maps of a table by going through all of them',
  });
}

/** Masquerading of what pods send beyond the cluster, as a CNI plug-in writes it. */
export function masquerade(lab: Lab): Balancer {
  return netfilter(lab, 'nftables', {
    command: ['nft', '-f', '-'],
    rules: () => `table ip pods {
  chain postrouting {
    type nat hook postrouting priority 100
    ip saddr ${podCidr} ip daddr != ${podCidr} masquerade
  }
}
`,
    most: 10,
  });
}

/** Network policies as kube-router writes them. */
export function kubeRouter(lab: Lab): Balancer {
  return netfilter(lab, 'kube-router', {
    command: ['nft', '-f', '-'],
    rules: (policies) => kubeRouterRules(scaleOf(policies), measuredPods(false)),
  });
}

/** Network policies as kube-network-policies writes them, without the process that decides. */
export function kubeNetworkPolicies(lab: Lab): Balancer {
  return netfilter(lab, 'kube-network-policies', {
    command: ['nft', '-f', '-'],
    rules: () => queueRules(measuredPods(false)),
  });
}

interface Tool {
  readonly command: readonly [string, ...string[]];
  readonly rules: (count: number) => string;
  readonly most?: number;
  readonly why?: string;
}

function netfilter(lab: Lab, name: Balancer['name'], tool: Tool): Balancer {
  const node = lab.nodes[0]!;
  let installed: number | undefined;
  return {
    name,
    lab: lab.name,
    async install(count) {
      if (tool.most !== undefined && count > tool.most) return tool.why;
      if (installed === count) return undefined;
      await loadRules(node, tool.command, tool.rules(count));
      // So that finished connections of one measurement don't fill the table for the next: the
      // default of 120 s is made for fewer connections than are opened here.
      node.setSysctl('net/netfilter/nf_conntrack_tcp_timeout_time_wait', 15);
      installed = count;
      return undefined;
    },
  };
}

/** Has a command read rules on a node. */
export async function loadRules(
  node: LabNode,
  [command, ...args]: readonly [string, ...string[]],
  rules: string,
): Promise<void> {
  const child = node.spawn(command, args, { stdio: ['pipe', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr!.on('data', (data) => {
    errors += data;
  });
  child.stdin!.end(rules);
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`load rules: ${command} failed: ${errors.slice(0, 300)}`);
}
