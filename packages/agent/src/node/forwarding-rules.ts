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
/** Sorted by the number of rules that match connections, most first. */
const hooks = [FORWARD, POSTROUTING, PREROUTING];

/** The expressions that neither match the state of a connection nor change its addresses. */
const harmless: ReadonlySet<string> = new Set([
  ...['bitwise', 'byteorder', 'cmp', 'counter', 'exthdr', 'fib', 'hash', 'immediate', 'last'],
  ...['limit', 'log', 'lookup', 'meta', 'numgen', 'payload', 'quota', 'range', 'reject', 'rt'],
  ...['match addrtype', 'match comment', 'match icmp', 'match icmp6', 'match limit', 'match mac'],
  ...['match mark', 'match multiport', 'match physdev', 'match pkttype', 'match sctp', 'match set'],
  ...['match statistic', 'match tcp', 'match udp'],
  ...['target LOG', 'target MARK', 'target NFLOG', 'target REJECT', 'target TCPMSS'],
]);

/** With more chains than this, some rule is assumed to match connections. */
const maxChains = 500;

/** The files with the names of iptables-legacy's tables in this network namespace, by family. */
const legacyTables = ['/proc/net/ip_tables_names', '/proc/net/ip6_tables_names'];

/**
 * Returns true if a rule for forwarded packets matches the state of connections, or translates: then netfilter has
 * to see both directions of each. Rules for the node's own packets do not count, such as the kubelet's
 * KUBE-FIREWALL. Returns true where the rules cannot be read: tables of iptables-legacy and of bridges, and unknown
 * expressions.
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
    if (seen.size > maxChains) return true;
    for (const expression of listChainRules(socket, chain).flat()) {
      if (!harmless.has(expression.name)) return true;
      if (expression.chain === undefined) continue;
      const key = keyOf({ ...chain, name: expression.chain });
      const next = known.get(key);
      // The chain was created after the chains were listed.
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
