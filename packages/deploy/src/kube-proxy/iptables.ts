/**
 * The chains that kube-proxy of Kubernetes 1.20 to 1.36 creates in iptables and ipvs mode. Other
 * chains that begin with KUBE- are not its own: KUBE-FIREWALL, KUBE-MARK-DROP, KUBE-KUBELET-CANARY
 * and KUBE-IPTABLES-HINT are the kubelet's, KUBE-ROUTER-*, KUBE-NWPLCY-* and KUBE-POD-FW-* those of
 * network policies.
 */
const ownChain =
  /^KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|FORWARD|PROXY-FIREWALL|PROXY-CANARY|MARK-MASQ|NODE-PORT|LOAD-BALANCER|SOURCE-RANGES-FIREWALL|IPVS-FILTER|IPVS-OUT-FILTER|(SVC|SVL|SEP|EXT|FW|XLB)-[A-Z2-7]{16})$/;

/** The chains that kube-proxy jumps to from built-in chains. */
const entryChain =
  /^KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|FORWARD|PROXY-FIREWALL|NODE-PORT|IPVS-FILTER|IPVS-OUT-FILTER)$/;

/** The rules and chains of a table to remove, and those to keep. */
export interface TablePlan {
  readonly table: string;
  readonly chains: readonly string[];
  /** Rules of built-in chains that jump to kube-proxy's chains, as iptables-save prints them. */
  readonly jumps: readonly string[];
  /** Chains of kube-proxy that another program's rule uses, with that rule. */
  readonly kept: readonly { readonly chain: string; readonly usedBy: string }[];
}

interface Table {
  readonly name: string;
  /** True for built-in chains, which have a policy. */
  readonly chains: Map<string, { readonly isBuiltIn: boolean; readonly rules: string[] }>;
}

/** Parses the output of iptables-save and returns kube-proxy's rules and chains in each table. */
export function planRemoval(saved: string): TablePlan[] {
  return parseTables(saved)
    .map(planTable)
    .filter(({ chains, jumps, kept }) => chains.length + jumps.length + kept.length > 0);
}

/**
 * Returns the input of `iptables-restore --noflush` for the removal, each table in one step; empty
 * if there is nothing to remove.
 */
export function restoreInput(plans: readonly TablePlan[]): string {
  return plans
    .filter(({ chains, jumps }) => chains.length + jumps.length > 0)
    .map(({ table, chains, jumps }) =>
      [
        `*${table}`,
        // A declaration empties the chain, so that afterwards no chain refers to another one.
        ...chains.map((chain) => `:${chain} - [0:0]`),
        ...jumps.map((rule) => rule.replace(/^-A/, '-D')),
        ...chains.map((chain) => `-X ${chain}`),
        'COMMIT\n',
      ].join('\n'),
    )
    .join('');
}

function parseTables(saved: string): Table[] {
  const tables: Table[] = [];
  for (const line of saved.split('\n')) {
    const chains = tables.at(-1)?.chains;
    if (line.startsWith('*')) tables.push({ name: line.slice(1).trim(), chains: new Map() });
    else if (line.startsWith(':')) {
      const [name, policy] = line.slice(1).split(' ');
      chains?.set(name!, { isBuiltIn: policy !== '-', rules: [] });
    } else if (line.startsWith('-A ')) chains?.get(line.split(' ', 2)[1]!)?.rules.push(line);
  }
  return tables;
}

function planTable({ name, chains }: Table): TablePlan {
  const jumps: string[] = [];
  const usedBy = new Map<string, string>();
  const keep = (chain: string | undefined, rule: string) => {
    if (chain === undefined || !ownChain.test(chain) || usedBy.has(chain)) return;
    usedBy.set(chain, rule);
    for (const inner of chains.get(chain)?.rules ?? []) keep(target(inner), inner);
  };
  for (const [chain, { isBuiltIn, rules }] of chains) {
    if (ownChain.test(chain)) continue;
    for (const rule of rules) {
      const to = target(rule);
      if (isBuiltIn && to !== undefined && entryChain.test(to)) jumps.push(rule);
      else keep(to, rule);
    }
  }
  return {
    table: name,
    chains: [...chains.keys()].filter((chain) => ownChain.test(chain) && !usedBy.has(chain)),
    jumps,
    kept: Array.from(usedBy, ([chain, rule]) => ({ chain, usedBy: rule })),
  };
}

/** Returns the chain that a rule jumps to; text in quotes doesn't count. */
function target(rule: string): string | undefined {
  const bare = rule.replace(/"(?:\\.|[^"\\])*"/g, '""');
  return / (?:-j|-g|--jump|--goto) (\S+)/.exec(bare)?.[1];
}
