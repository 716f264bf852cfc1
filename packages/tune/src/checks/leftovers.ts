import { type Check, judged } from '../check.ts';
import { valueIfKnown } from '../facts.ts';

export const kubeProxyRules: Check = {
  name: 'kube-proxy-rules',
  about: 'rules, tables and interfaces of kube-proxy',
  advice: 'none while Heddle serves the services',
  reason:
    'the kernel still walks them: with them a new connection takes 1.2 to 3.3 times as long, also one to no service',
  risk: 'if kube-proxy still runs it writes them again; stop it first',
  applies: 'no',
  examine({ leftovers }) {
    return [
      judged(leftovers.kubeProxy, (found) => {
        if (found.length === 0) return { state: 'good', found: 'none' };
        return {
          ...{ state: 'wrong', found: found.join(', '), recommended: 'remove them' },
          command: 'heddle cleanup --kube-proxy',
        };
      }),
    ];
  },
};

export const trackedConnections: Check = {
  name: 'conntrack',
  about: 'connections that netfilter tracks (nf_conntrack_count)',
  advice: 'none: no rule that matches the state of connections or translates',
  reason:
    'each packet is looked up a second time, and the table can run full, which drops packets; Heddle has its own table',
  risk: 'a firewall may need the rules',
  applies: 'no',
  examine({ leftovers, agent }) {
    return [
      judged(leftovers.tracked, (count) => {
        if (count === 0) return { state: 'good', found: 'none' };
        const isNeeded = valueIfKnown(agent)?.tracked;
        const why = isNeeded === true ? '; rules for forwarded packets match their state' : '';
        return {
          ...{ state: 'improve', found: `${count} connections${why}` },
          recommended: 'remove the rules that need them, if no firewall does',
          command: 'nft list ruleset | grep -nE "ct |nat|masquerade"',
        };
      }),
    ];
  },
};
