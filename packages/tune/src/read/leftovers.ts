import { findLink, listChains, NETLINK_NETFILTER, NetlinkSocket } from '@heddle/netlink';
import type { Platform } from '@heddle/sys';
import type { LeftoverFacts } from '../facts.ts';
import { isSysError, known, readTextIfAny } from './files.ts';

/** Chains that only kube-proxy makes; the kubelet has others with KUBE-. */
const chainPattern = /^KUBE-(SERVICES|NODEPORTS|EXTERNAL-SERVICES|PROXY-|SVC-|SEP-)/;
const tableName = 'kube-proxy';

/** Returns what kube-proxy has left in the network namespace of the thread. */
export function readLeftovers(platform: Platform): LeftoverFacts {
  return {
    kubeProxy: known(() => findLeftovers(platform)),
    tracked: known(() => {
      const count = readTextIfAny(platform, '/proc/sys/net/netfilter/nf_conntrack_count');
      return Number(count ?? 0);
    }),
  };
}

function findLeftovers(platform: Platform): string[] {
  const found = [...rules(platform)];
  using socket = new NetlinkSocket(platform);
  if (findLink(socket, 'kube-ipvs0')) found.push('network interface kube-ipvs0');
  const virtual = readTextIfAny(platform, '/proc/thread-self/net/ip_vs') ?? '';
  const services = virtual.match(/^(TCP|UDP|SCTP) /gm)?.length ?? 0;
  if (services > 0) found.push(`${services} virtual services of IPVS`);
  if (found.length > 0) return found;
  const legacy = ['ip_tables_names', 'ip6_tables_names'].flatMap(
    (name) => readTextIfAny(platform, `/proc/thread-self/net/${name}`)?.split('\n') ?? [],
  );
  if (legacy.includes('nat')) {
    throw new Error('iptables-legacy has a table nat, whose rules only its own tools can read');
  }
  return [];
}

/** Returns the chains and tables of nf_tables, which include those of iptables-nft. */
function rules(platform: Platform): Set<string> {
  const found = new Set<string>();
  try {
    using socket = new NetlinkSocket(platform, NETLINK_NETFILTER);
    for (const { table, name } of listChains(socket)) {
      if (table === tableName) found.add(`table ${table}`);
      // Each service and endpoint has a chain; their number is no news.
      else if (chainPattern.test(name))
        found.add(`chain ${name.replace(/-(SVC|SEP)-.*/, '-$1-*')}`);
    }
  } catch (error) {
    // The kernel has no netfilter.
    if (!isSysError(error, 'EPROTONOSUPPORT')) throw error;
  }
  return found;
}
