import type { DropKind, LinkVerdict, MapAnswer } from '../../contract.ts';
import { formatParty, formatPort } from '../../parts/format.ts';
import { policyName, ruleWords } from '../drops/sentences.ts';

/** Flows of the window that are alike. */
export interface FlowGroup {
  readonly verdict: LinkVerdict | '';
  readonly from: string;
  readonly to: string;
  readonly port: string;
  /** Per second; packets for drops and refusals, else connections. */
  readonly rate: number;
  readonly rule: string;
  readonly fromPods: number;
  readonly toPods: number;
  readonly bytes: number;
  /** Seconds before the end of the window. */
  readonly last: number;
}

/** The columns that flows can be grouped by. */
export const groupKeys = ['verdict', 'from', 'to', 'port'] as const;
export type GroupKey = (typeof groupKeys)[number];

/** Reads the key `by`: names of columns; all without one. */
export function readGroupKeys(by: string | undefined): readonly GroupKey[] {
  const wanted = (by ?? '').split(',');
  const found = groupKeys.filter((key) => wanted.includes(key));
  return found.length > 0 ? found : groupKeys;
}

/** Returns the groups of a map's links, what fails first, then by rate. */
export function groupsOf(
  map: MapAnswer,
  kinds: readonly DropKind[],
  by: readonly GroupKey[],
): FlowGroup[] {
  const rules = new Map(kinds.map((kind) => [kindKey(kind), ruleOfKind(kind)]));
  const groups = new Map<string, FlowGroup>();
  for (const group of linkGroups(map, rules)) {
    const kept: FlowGroup = {
      ...group,
      ...Object.fromEntries(groupKeys.filter((key) => !by.includes(key)).map((key) => [key, ''])),
    };
    const key = JSON.stringify(by.map((name) => group[name]));
    const sum = groups.get(key);
    groups.set(key, sum ? added(sum, kept) : kept);
  }
  const isTrouble = ({ verdict }: FlowGroup) => Number(verdict !== 'forwarded' && verdict !== '');
  return [...groups.values()].sort(
    (one, other) => isTrouble(other) - isTrouble(one) || other.rate - one.rate,
  );
}

function* linkGroups(map: MapAnswer, rules: ReadonlyMap<string, string>): Iterable<FlowGroup> {
  const { links, workloads, namespaces } = map;
  const nameOf = (index: number) => {
    const space = workloads.namespace[index]!;
    const namespace = namespaces.outside[space] ? '' : namespaces.name[space]!;
    return formatParty({ namespace, name: workloads.name[index]! });
  };
  for (const [index, fromIndex] of links.from.entries()) {
    const toIndex = links.to[index]!;
    const common = {
      ...{ from: nameOf(fromIndex), to: nameOf(toIndex) },
      port: formatPort(links.protocol[index]!, links.port[index]!),
      ...{ fromPods: workloads.pods[fromIndex]!, toPods: workloads.pods[toIndex]! },
      last: links.last[index]!,
    };
    const verdicts = ['forwarded', 'dropped', 'refused', 'audit'] as const;
    const seen = verdicts.filter((verdict) => links[verdict][index]! > 0);
    for (const verdict of seen.length > 0 ? seen : (['forwarded'] as const)) {
      const rule = rules.get([common.from, common.to, common.port].join(' ')) ?? '';
      const bytes = verdict === 'forwarded' ? links.bytesOut[index]! + links.bytesIn[index]! : 0;
      const isForwarded = verdict === 'forwarded';
      yield {
        ...common,
        verdict,
        rate: links[verdict][index]!,
        bytes,
        rule: isForwarded ? '' : rule,
      };
    }
  }
}

function kindKey({ from, to, protocol, port }: DropKind): string {
  return [formatParty(from), formatParty(to), formatPort(protocol, port)].join(' ');
}

function ruleOfKind({ rules: [rule], service }: DropKind): string {
  if (rule) return `${policyName(rule.policy)}, ${ruleWords(rule)}`;
  return service ? `Service ${service}` : '';
}

function added(one: FlowGroup, other: FlowGroup): FlowGroup {
  return {
    ...one,
    rate: one.rate + other.rate,
    bytes: one.bytes + other.bytes,
    rule: one.rule === other.rule ? one.rule : 'several',
    fromPods: Math.max(one.fromPods, other.fromPods),
    toPods: Math.max(one.toPods, other.toPods),
    last: Math.min(one.last, other.last),
  };
}
