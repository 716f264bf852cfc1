// Rules that a kube-proxy leaves, in the form of `iptables-save` and `nft list ruleset`, and rules
// of other programs on a node.

const addresses = {
  iptables: { service: '10.96.0.10/32', endpoint: '10.244.1.5/32', to: '10.244.1.5:8080' },
  ip6tables: { service: 'fd00:96::10/128', endpoint: 'fd00:244::5/128', to: '[fd00:244::5]:8080' },
};

export type Family = keyof typeof addresses;

const text = (words: string) => `-m comment --comment "${words}"`;

/**
 * Returns input for `iptables-restore`: kube-proxy's tables nat, filter and mangle for one service.
 */
export function iptablesLeftovers(family: Family): string {
  const { service, endpoint, to } = addresses[family];
  const portals = text('kubernetes service portals');
  return `*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*filter
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW ${text('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL
-A INPUT ${text('kubernetes health check service ports')} -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW ${text('kubernetes externally-visible service portals')} -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW ${text('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL
-A FORWARD ${text('kubernetes forwarding rules')} -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW ${portals} -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW ${portals} -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD ${text('kubernetes forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-SERVICES -d ${service} -p udp ${text('default/none:dns has no endpoints')} -m udp --dport 53 -j REJECT
COMMIT
*nat
:KUBE-EXT-ABCDEFGHIJKLMN22 - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SEP-ABCDEFGHIJKLMN33 - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ABCDEFGHIJKLMN22 - [0:0]
-A PREROUTING ${portals} -j KUBE-SERVICES
-A OUTPUT ${portals} -j KUBE-SERVICES
-A POSTROUTING ${text('kubernetes postrouting rules')} -j KUBE-POSTROUTING
-A KUBE-EXT-ABCDEFGHIJKLMN22 ${text('masquerade traffic for default/web external destinations')} -j KUBE-MARK-MASQ
-A KUBE-EXT-ABCDEFGHIJKLMN22 -j KUBE-SVC-ABCDEFGHIJKLMN22
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODEPORTS -p tcp ${text('default/web')} -m tcp --dport 30080 -j KUBE-EXT-ABCDEFGHIJKLMN22
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING ${text('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully
-A KUBE-SEP-ABCDEFGHIJKLMN33 -s ${endpoint} ${text('default/web')} -j KUBE-MARK-MASQ
-A KUBE-SEP-ABCDEFGHIJKLMN33 -p tcp ${text('default/web')} -m tcp -j DNAT --to-destination ${to}
-A KUBE-SERVICES -d ${service} -p tcp ${text('default/web cluster IP')} -m tcp --dport 80 -j KUBE-SVC-ABCDEFGHIJKLMN22
-A KUBE-SERVICES ${text('kubernetes service nodeports; NOTE: this must be the last rule in this chain')} -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-ABCDEFGHIJKLMN22 ${text('default/web -> endpoint')} -j KUBE-SEP-ABCDEFGHIJKLMN33
COMMIT
`;
}

/** Input for `iptables-restore --noflush`: what a kubelet, a network policy agent, a CNI and an administrator have. */
export function foreignRules(family: Family): string {
  const { service, endpoint } = addresses[family];
  return `*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
*filter
:CNI-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-NWPLCY-ABCDEFGHIJKLMN44 - [0:0]
:KUBE-POD-FW-ABCDEFGHIJKLMN55 - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
:KUBE-SVC-mine - [0:0]
-A INPUT ${text('kube-router netpol')} -j KUBE-ROUTER-INPUT
-A INPUT -j KUBE-FIREWALL
-A INPUT ${text('as -j KUBE-SERVICES was')} -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD ${text('CNI firewall plugin rules')} -j CNI-FORWARD
-A OUTPUT -j KUBE-FIREWALL
-A CNI-FORWARD -d ${endpoint} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-POD-FW-ABCDEFGHIJKLMN55 -j KUBE-NWPLCY-ABCDEFGHIJKLMN44
-A KUBE-ROUTER-INPUT -d ${service} -m comment --comment "allow services" -j RETURN
COMMIT
*nat
:CNI-HOSTPORT-DNAT - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p tcp -m tcp --dport 8080 -j REDIRECT --to-ports 80
COMMIT
`;
}

/** Input for `nft -f -`: kube-proxy's tables in nftables mode, for one service in each family. */
export const nftablesLeftovers = ['ip', 'ip6']
  .map((family) => {
    const [type, service, to] =
      family === 'ip'
        ? ['ipv4_addr', '10.96.0.10', '10.244.1.5']
        : ['ipv6_addr', 'fd00:96::10', '[fd00:244::5]'];
    return `table ${family} kube-proxy {
  comment "rules for kube-proxy";
  map service-ips {
    type ${type} . inet_proto . inet_service : verdict
    comment "ClusterIP, ExternalIP and LoadBalancer IP traffic"
    elements = { ${service} . tcp . 80 : goto service-ULMVA6XW-default/web/tcp/p80 }
  }
  chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain services { ${family} daddr . meta l4proto . th dport vmap @service-ips; }
  chain service-ULMVA6XW-default/web/tcp/p80 {
    numgen random mod 1 vmap { 0 : goto endpoint-5OJB2KTY-default/web/tcp/p80__10.244.1.5/8080 }
  }
  chain endpoint-5OJB2KTY-default/web/tcp/p80__10.244.1.5/8080 {
    meta l4proto tcp dnat to ${to}:8080;
  }
}
`;
  })
  .join('');

/** Input for `nft -f -`: tables of other programs. */
export const foreignTables = `table inet firewall {
  chain input { type filter hook input priority 0; tcp dport 22 accept; }
}
table ip kube-router {
  chain kube-proxy { }
}
table inet kube-proxy {
  chain mine { }
}
`;
