import { reasonWord, wordText } from '../../filter/index.ts';
import type { FlowEnd, FlowRow } from './rows.ts';
import { ruleOf } from './rows.ts';

/**
 * Returns the filter's word that selects the value of a column, or undefined where no word does. A leading
 * minus makes it exclude.
 */
export function wordOfColumn(row: FlowRow, column: string): string | undefined {
  const { port } = row.to;
  const rule = ruleOf(row.rule);
  switch (column) {
    case 'verdict':
      return `verdict:${row.verdict}`;
    case 'reason':
      return row.reason > 0 ? `reason:${reasonWord(row.reason)}` : undefined;
    case 'from':
      return endWord('from', row.from);
    case 'to':
      return endWord('to', row.to);
    case 'from-pod':
      return podWord('from', row.from);
    case 'to-pod':
      return podWord('to', row.to);
    case 'from-address':
      return wordText('from', row.from.address);
    case 'to-address':
      return wordText('to', row.to.address);
    case 'port':
      return port > 0 ? `port:${port}` : undefined;
    case 'protocol':
      return protocolWord(row.protocol);
    case 'rule':
      return rule ? wordText('policy', rule.policy) : 'policy:none';
    case 'service':
      return row.service ? wordText('svc', row.service) : undefined;
    case 'node':
      return row.node ? wordText('node', row.node) : undefined;
    case 'direction':
      return row.direction ? `dir:${row.direction}` : undefined;
    default:
      return undefined;
  }
}

function endWord(key: string, { name, address }: FlowEnd): string | undefined {
  const value = name || address;
  return value ? wordText(key, value) : undefined;
}

function podWord(key: string, { name, pod }: FlowEnd): string | undefined {
  const namespace = name.split('/')[0];
  return pod && namespace ? wordText(key, `${namespace}/${pod}`) : undefined;
}

function protocolWord(protocol: number): string | undefined {
  const names: Readonly<Record<number, string>> = {
    1: 'icmp',
    6: 'tcp',
    17: 'udp',
    58: 'icmp',
    132: 'sctp',
  };
  return names[protocol] && `proto:${names[protocol]}`;
}
