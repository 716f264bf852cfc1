import { backendPort, namespace, podCidr, type Service, servicePort } from '../catalog.ts';
import { chainHash } from './names.ts';

// The rules that kube-proxy in iptables mode has for these services, as input of iptables-restore;
// written from its documented form (Kubernetes: "Virtual IPs and Service Proxies"; the KUBE-*
// chains as an `iptables-save` of a node shows them). Comments included: the kernel passes each
// rule's matches, and a comment is one.

const masqueradeMark = '0x4000';

function comment(text: string): string {
  return `-m comment --comment "${text}"`;
}

/** Returns input for `iptables-restore`; replaces the tables nat and filter. */
export function iptablesRules(services: readonly Service[]): string {
  return [...filterTable(), ...natTable(services), ''].join('\n');
}

function filterTable(): string[] {
  const portals = comment('kubernetes service portals');
  const external = comment('kubernetes externally-visible service portals');
  const firewall = comment('kubernetes load balancer firewall');
  const fresh = '-m conntrack --ctstate NEW';
  return [
    '*filter',
    ...[':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ':OUTPUT ACCEPT [0:0]'],
    ...[
      'KUBE-NODEPORTS',
      'KUBE-SERVICES',
      'KUBE-EXTERNAL-SERVICES',
      'KUBE-FIREWALL',
      'KUBE-FORWARD',
      'KUBE-PROXY-FIREWALL',
    ].map((chain) => `:${chain} - [0:0]`),
    `-A INPUT ${fresh} ${firewall} -j KUBE-PROXY-FIREWALL`,
    `-A INPUT ${comment('kubernetes health check service ports')} -j KUBE-NODEPORTS`,
    `-A INPUT ${fresh} ${external} -j KUBE-EXTERNAL-SERVICES`,
    '-A INPUT -j KUBE-FIREWALL',
    `-A FORWARD ${fresh} ${firewall} -j KUBE-PROXY-FIREWALL`,
    `-A FORWARD ${comment('kubernetes forwarding rules')} -j KUBE-FORWARD`,
    `-A FORWARD ${fresh} ${portals} -j KUBE-SERVICES`,
    `-A FORWARD ${fresh} ${external} -j KUBE-EXTERNAL-SERVICES`,
    `-A OUTPUT ${fresh} ${firewall} -j KUBE-PROXY-FIREWALL`,
    `-A OUTPUT ${fresh} ${portals} -j KUBE-SERVICES`,
    '-A OUTPUT -j KUBE-FIREWALL',
    `-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 ${comment('block incoming localnet connections')} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
    '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
    `-A KUBE-FORWARD ${comment('kubernetes forwarding rules')} -m mark --mark ${masqueradeMark}/${masqueradeMark} -j ACCEPT`,
    `-A KUBE-FORWARD ${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    'COMMIT',
  ];
}

function natTable(services: readonly Service[]): string[] {
  const chains: string[] = [];
  const portals: string[] = [];
  const rules: string[] = [];
  const nodePorts: string[] = [];
  for (const { name, clusterIP, nodePort, protocol: upper, endpoints } of services) {
    const protocol = upper.toLowerCase();
    const port = `${namespace}/${name}:http`;
    const chain = `KUBE-SVC-${chainHash(`${port}${protocol}`, 16)}`;
    const destination = `-d ${clusterIP}/32 -p ${protocol} ${comment(`${port} cluster IP`)} -m ${protocol} --dport ${servicePort}`;
    chains.push(chain);
    portals.push(`-A KUBE-SERVICES ${destination} -j ${chain}`);
    rules.push(`-A ${chain} ! -s ${podCidr} ${destination} -j KUBE-MARK-MASQ`);
    if (nodePort !== undefined) {
      // Without the rule before it that counts packets to loopback addresses, which newer versions have.
      const external = `KUBE-EXT-${chainHash(`${port}${protocol}`, 16)}`;
      chains.push(external);
      nodePorts.push(
        `-A KUBE-NODEPORTS -p ${protocol} ${comment(port)} -m ${protocol} --dport ${nodePort} -j ${external}`,
      );
      rules.push(
        `-A ${external} ${comment(`masquerade traffic for ${port} external destinations`)} -j KUBE-MARK-MASQ`,
        `-A ${external} -j ${chain}`,
      );
    }
    endpoints.forEach((address, i) => {
      const endpoint = `${address}:${backendPort}`;
      const endpointChain = `KUBE-SEP-${chainHash(`${port}${protocol}${endpoint}`, 16)}`;
      const left = endpoints.length - i;
      const share =
        left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : '';
      chains.push(endpointChain);
      rules.push(
        `-A ${chain} ${comment(`${port} -> ${endpoint}`)}${share} -j ${endpointChain}`,
        `-A ${endpointChain} -s ${address}/32 ${comment(port)} -j KUBE-MARK-MASQ`,
        `-A ${endpointChain} -p ${protocol} ${comment(port)} -m ${protocol} -j DNAT --to-destination ${endpoint}`,
      );
    });
  }
  const masquerade = comment('kubernetes service traffic requiring SNAT');
  return [
    '*nat',
    ...['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'].map((name) => `:${name} ACCEPT [0:0]`),
    ...['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ', ...chains].map(
      (name) => `:${name} - [0:0]`,
    ),
    `-A PREROUTING ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
    `-A OUTPUT ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
    `-A POSTROUTING ${comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING`,
    `-A KUBE-MARK-MASQ -j MARK --or-mark ${masqueradeMark}`,
    `-A KUBE-POSTROUTING -m mark ! --mark ${masqueradeMark}/${masqueradeMark} -j RETURN`,
    `-A KUBE-POSTROUTING -j MARK --xor-mark ${masqueradeMark}`,
    `-A KUBE-POSTROUTING ${masquerade} -j MASQUERADE --random-fully`,
    ...portals,
    ...nodePorts,
    ...rules,
    `-A KUBE-SERVICES ${comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain')} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
    'COMMIT',
  ];
}
