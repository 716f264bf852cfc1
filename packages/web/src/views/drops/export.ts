import type { DropKind } from '../../contract.ts';
import { formatParty } from '../../parts/format.ts';
import { protocolName } from '../../protocols.ts';
import { csvCell } from '../flows/export.ts';
import { headingOf, policyName, ruleWords } from './sentences.ts';

/** Returns kinds of drops as CSV with a first line of names (RFC 4180). */
export function csvOfKinds(kinds: readonly DropKind[]): string {
  const names = [
    ...['reason', 'name', 'heading', 'verdict', 'from', 'to', 'protocol', 'port', 'service'],
    ...['packets_per_second', 'packets', 'since', 'last', 'rules', 'nodes'],
  ];
  const lines = kinds.map((kind) =>
    [
      ...[kind.reason, kind.name, headingOf(kind), kind.verdict],
      ...[formatParty(kind.from), formatParty(kind.to), protocolName(kind.protocol), kind.port],
      ...[kind.service ?? '', kind.now, kind.packets],
      ...[new Date(kind.since).toISOString(), new Date(kind.last).toISOString()],
      kind.rules.map((rule) => `${policyName(rule.policy)} ${ruleWords(rule)}`).join('; '),
      kind.nodes.join('; '),
    ]
      .map(csvCell)
      .join(','),
  );
  return [names.join(','), ...lines, ''].join('\r\n');
}
