import {
  listChainRules,
  listChains,
  NETLINK_NETFILTER,
  type NetfilterChain,
  NetlinkSocket,
} from '@heddle/netlink';
import { decodeUtf8, isMissing, type Platform, readFile } from '@heddle/sys';

// NFPROTO_* and NF_INET_* of linux/netfilter.h.
const [INET, IPV4, ARP, NETDEV, IPV6] = [1, 2, 3, 5, 10];
const forwardedFamilies: ReadonlySet<number> = new Set([INET, IPV4, IPV6]);
const otherFamilies: ReadonlySet<number> = new Set([ARP, NETDEV]);
const [PREROUTING, FORWARD, POSTROUTING] = [0, 2, 4];
/** The hook that has most of the rules which look at connections comes first. */
const hooks = [FORWARD, POSTROUTING, PREROUTING];

/** Steps of rules that neither look at the state of a connection nor change its addresses. */
const harmless: ReadonlySet<string> = new Set([
  ...['bitwise', 'byteorder', 'cmp', 'counter', 'exthdr', 'fib', 'hash', 'immediate', 'last'],
  ...['limit', 'log', 'lookup', 'meta', 'numgen', 'payload', 'quota', 'range', 'reject', 'rt'],
  ...['match addrtype', 'match comment', 'match icmp', 'match icmp6', 'match limit', 'match mac'],
  ...['match mark', 'match multiport', 'match physdev', 'match pkttype', 'match sctp', 'match set'],
  ...['match statistic', 'match tcp', 'match udp'],
  ...['target LOG', 'target MARK', 'target NFLOG', 'target REJECT', 'target TCPMSS'],
]);

/** Beyond so many chains it is taken for granted that some rule looks at connections. */
const mostChains = 500;

/** Names of the tables of iptables-legacy in this network namespace, by family. */
const legacyTables = ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'];

/**
 * True when a rule for packets that the node forwards looks at connections, or translates: then
 * netfilter has to see both directions of each. Rules for what the node itself sends and receives don't count,
 * such as the kubelet's KUBE-FIREWALL. True where that can't be told: tables of iptables-legacy, bridges'
 * tables, and steps of rules that are not known here.
 */
export function looksAtForwardedConnections(platform: Platform): boolean {
  if (legacyTables.some((path) => hasLines(platform, path))) return true;
  using socket = new NetlinkSocket(platform, NETLINK_NETFILTER);
  const chains = listChains(socket);
  if (chains.some(({ family }) => !forwardedFamilies.has(family) && !otherFamilies.has(family))) {
    return true;
  }
  const keyOf = ({ family, table, name }: NetfilterChain) => JSON.stringify([family, table, name]);
  const known = new Map(chains.map((chain) => [keyOf(chain), chain]));
  const left = hooks.flatMap((hook) =>
    chains.filter((chain) => chain.hook === hook && forwardedFamilies.has(chain.family)),
  );
  const seen = new Set(left.map(keyOf));
  for (let chain = left.shift(); chain; chain = left.shift()) {
    if (seen.size > mostChains) return true;
    for (const expression of listChainRules(socket, chain).flat()) {
      if (!harmless.has(expression.name)) return true;
      if (expression.chain === undefined) continue;
      const key = keyOf({ ...chain, name: expression.chain });
      const next = known.get(key);
      // Made since the chains were listed.
      if (!next) return true;
      if (!seen.has(key)) left.push(next);
      seen.add(key);
    }
  }
  return false;
}

function hasLines(platform: Platform, path: string): boolean {
  try {
    return decodeUtf8(readFile(platform, path)).trim() !== '';
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
