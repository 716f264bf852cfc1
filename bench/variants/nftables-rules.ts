import {
  backendPort,
  namespace,
  podCidr,
  type Service,
  serviceCidr,
  servicePort,
} from '../catalog.ts';
import { nodeAddress } from '../sites.ts';
import { chainHash } from './names.ts';

// The table that kube-proxy in nftables mode has for these services (IPv4), as input of `nft -f`;
// written from its documented form (KEP-3866, "NFTables-based kube-proxy", and `nft list table ip
// kube-proxy` of a node): a verdict map from address, protocol and port to a chain per service,
// which picks a chain per endpoint.

const mark = '0x4000';

/** Returns input for `nft -f -`; replaces the table. */
export function nftablesRules(services: readonly Service[]): string {
  const chains: string[] = [];
  const elements: string[] = [];
  const nodePorts: string[] = [];
  for (const { name, clusterIP, nodePort, protocol: upper, endpoints: addresses } of services) {
    const protocol = upper.toLowerCase();
    const port = `${namespace}/${name}/${protocol}/http`;
    const chain = `service-${chainHash(port, 8)}-${port}`;
    const endpoints = addresses.map((address) => {
      const endpoint = `${port}__${address}/${backendPort}`;
      return { address, chain: `endpoint-${chainHash(endpoint, 8)}-${endpoint}` };
    });
    for (const { address, chain: endpointChain } of endpoints) {
      chains.push(
        `chain ${endpointChain} {`,
        `ip saddr ${address} jump mark-for-masquerade`,
        `meta l4proto ${protocol} dnat to ${address}:${backendPort}`,
        '}',
      );
    }
    const choice = endpoints.map((endpoint, i) => `${i} : goto ${endpoint.chain}`).join(', ');
    chains.push(
      `chain ${chain} {`,
      `ip daddr ${clusterIP} ${protocol} dport ${servicePort} ip saddr != ${podCidr} jump mark-for-masquerade`,
      `numgen random mod ${endpoints.length} vmap { ${choice} }`,
      '}',
    );
    elements.push(`${clusterIP} . ${protocol} . ${servicePort} : goto ${chain}`);
    if (nodePort !== undefined) {
      const external = `external-${chainHash(port, 8)}-${port}`;
      chains.push(`chain ${external} {`, 'jump mark-for-masquerade', `goto ${chain}`, '}');
      nodePorts.push(`${protocol} . ${nodePort} : goto ${external}`);
    }
  }
  const clusterIPs = services.map(({ clusterIP }) => clusterIP);
  return `
add table ip kube-proxy
delete table ip kube-proxy
table ip kube-proxy {
  comment "rules for kube-proxy"
  set cluster-ips { type ipv4_addr; comment "Active ClusterIPs"; elements = { ${clusterIPs.join(', ')} }; }
  set nodeport-ips { type ipv4_addr; comment "IPs that accept NodePort traffic"; elements = { ${nodeAddress} }; }
  map no-endpoint-services { type ipv4_addr . inet_proto . inet_service : verdict; comment "vmap to drop or reject packets to services with no endpoints"; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; comment "vmap to drop or reject packets to service nodeports with no endpoints"; }
  map firewall-ips { type ipv4_addr . inet_proto . inet_service : verdict; comment "destinations that are subject to LoadBalancerSourceRanges"; }
  chain mark-for-masquerade { mark set mark or ${mark}; }
  ${chains.join('\n  ')}
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"; elements = { ${elements.join(', ')} }; }
  map service-nodeports { type inet_proto . inet_service : verdict; comment "NodePort traffic"; ${listed(nodePorts)} }
  chain masquerading {
    mark and ${mark} == 0 return
    mark set mark xor ${mark}
    masquerade fully-random
  }
  chain reject-chain { comment "helper for @no-endpoint-services / @no-endpoint-nodeports"; reject; }
  chain nodeport-endpoints-check { ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
  chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
  chain cluster-ips-check {
    ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
    ip daddr ${serviceCidr} drop comment "Drop traffic to unallocated ClusterIPs"
  }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain filter-prerouting-pre-dnat { type filter hook prerouting priority -110; ct state new jump firewall-check; }
  chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }
  chain filter-input {
    type filter hook input priority 0
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-forward {
    type filter hook forward priority 0
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-output {
    type filter hook output priority 0
    ct state new jump service-endpoints-check
  }
  chain filter-output-post-dnat { type filter hook output priority -90; ct state new jump cluster-ips-check; }
  chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }
}
`;
}

/** nft does not accept an empty list. */
function listed(elements: readonly string[]): string {
  return elements.length === 0 ? '' : `elements = { ${elements.join(', ')} };`;
}
