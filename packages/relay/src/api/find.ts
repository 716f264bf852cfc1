import type { FindAnswer, ValuesAnswer } from '@heddle/web/contract';
import { reasonWord, wordText } from '@heddle/web/filter';
import type { LinkRow } from '../traffic/model.ts';
import type { Traffic } from '../traffic/traffic.ts';
import { type CanSee, isVisible, nameOf, rowsOf, type View } from './view.ts';

const resultsMax = 12;
const valuesMax = 50;
type Result = FindAnswer['results'][number];

/** Returns what has a text in its name. Names that begin with it come first. */
export function findText(traffic: Traffic, text: string, canSee: CanSee): FindAnswer {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return { results: [] };
  const found: { readonly result: Result; readonly order: number }[] = [];
  const offer = (name: string, result: Omit<Result, 'name'>) => {
    const at = name.toLowerCase().indexOf(wanted);
    if (at < 0) return;
    const isStart = at === 0 || name[at - 1] === '/';
    found.push({ result: { name, ...result }, order: (isStart ? 0 : 1) + name.length / 1000 });
  };
  const rows = [...traffic.links.rows].filter(({ subject }) => isVisible(subject, canSee));
  // A name outside the cluster shows what a namespace talks to.
  const outside = new Set(rows.flatMap(({ from, to }) => [from, to]));
  for (const workload of traffic.ends.workloads) {
    const { namespace, name, kind, pods } = workload;
    if (kind === 'Outside' && !outside.has(workload)) continue;
    if (namespace !== '' && !canSee(namespace)) continue;
    const path = nameOf(workload);
    if (namespace === '') {
      const isOutside = kind === 'Outside';
      offer(name, {
        kind: isOutside ? 'host' : 'node',
        detail: isOutside ? 'outside the cluster' : kind.toLowerCase(),
        ...(isOutside ? { route: `#/outside/${encodeURIComponent(name)}` } : {}),
        word: wordText(isOutside ? 'with' : 'node', name),
      });
      continue;
    }
    const detail = `${kind}, ${pods.size} pods`;
    offer(path, {
      kind: 'workload',
      detail,
      route: `#/workload/${path}`,
      word: wordText('with', path),
    });
    for (const pod of pods.values()) {
      const own = `${namespace}/${pod.name}`;
      const where = pod.node === '' ? 'pod' : `pod on ${pod.node}`;
      const shared = { detail: [where, ...pod.addresses].join(', '), route: `#/pod/${own}` };
      offer(own, { kind: 'pod', ...shared, word: wordText('with', own) });
      for (const address of pod.addresses) {
        offer(address, {
          kind: 'address',
          ...shared,
          detail: own,
          word: wordText('with', address),
        });
      }
    }
  }
  const [services, policies] = [new Set<string>(), new Set<string>()];
  for (const row of rows) {
    if (row.service !== '') services.add(row.service);
    for (const { policy } of row.rules) policies.add(nameOf(policy));
  }
  for (const service of services) {
    offer(service, {
      kind: 'service',
      detail: 'service',
      route: `#/service/${service}`,
      word: wordText('svc', service),
    });
  }
  for (const policy of policies)
    offer(policy, { kind: 'policy', detail: 'policy', word: wordText('policy', policy) });
  for (const node of traffic.nodes.keys())
    offer(node, { kind: 'node', detail: 'node', route: '#/nodes', word: wordText('node', node) });
  found.sort((a, b) => a.order - b.order || (a.result.name < b.result.name ? -1 : 1));
  return { results: found.slice(0, resultsMax).map(({ result }) => result) };
}

/** Returns the values of a key that links within the filter have, the most frequent first. */
export function valuesOf(view: View, key: string, prefix: string): ValuesAnswer {
  const counts = new Map<string, number>();
  for (const row of rowsOf(view)) {
    for (const value of new Set(valuesOfRow(row, key, view))) {
      if (value !== '' && value.startsWith(prefix)) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  }
  const values = [...counts].map(([value, count]) => ({ value, count }));
  values.sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
  return { values: values.slice(0, valuesMax) };
}

const protocolWords: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  58: 'icmp',
  132: 'sctp',
};

function valuesOfRow(row: LinkRow, key: string, { now }: View): string[] {
  const { from, to, service, port, protocol, verdict, reason, rules, nodes, firstSeen } = row;
  switch (key) {
    case 'ns':
      return [from.namespace, to.namespace];
    case 'from-ns':
      return [from.namespace];
    case 'to-ns':
      return [to.namespace];
    case 'with':
      return [nameOf(from), nameOf(to)];
    case 'from':
      return [nameOf(from)];
    case 'to':
      return [nameOf(to)];
    case 'svc':
      return [service];
    case 'label':
      return [...(row.subject.from.labels ?? []), ...(row.subject.to.labels ?? [])].map((label) =>
        label.replace(/^[a-z0-9]+:/, ''),
      );
    case 'port':
      return [String(port)];
    case 'proto':
      return [protocolWords[protocol] ?? ''];
    case 'verdict':
      return [verdict];
    case 'reason':
      return verdict === 'forwarded' ? [] : [reasonWord(reason)];
    case 'policy':
      return rules.length === 0 ? ['none'] : rules.map(({ policy }) => nameOf(policy));
    case 'rule':
      return rules.flatMap(({ policy, rule, direction }) =>
        rule === undefined ? [] : [`${nameOf(policy)}#${direction}/${rule}`],
      );
    case 'dir':
      return row.direction === undefined ? [] : [row.direction];
    case 'node':
      return [...nodes];
    case 'new':
      return now - firstSeen < 3_600_000 ? ['1h'] : [];
    default:
      return [];
  }
}
