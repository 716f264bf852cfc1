import type { LinkRates, Neighbour, RuleRef, WorkloadAnswer } from '@heddle/web/contract';
import { protocolName } from '@heddle/web/protocols';
import type { LinkRow, PodSeen, Workload } from '../traffic/model.ts';
import { timelineOf } from './timeline.ts';
import {
  ApiProblem,
  flowsOf,
  nameOf,
  partyOf,
  rate,
  rowsOf,
  secondsOf,
  sumsOf,
  type View,
} from './view.ts';

const neighboursMax = 1000;
const podsMax = 500;

/** The object that a page is about: a workload, one of its pods, a service, or something outside the cluster. */
interface Subject {
  readonly workload: Workload;
  readonly pod?: PodSeen;
  readonly service?: string;
}

/** Returns the page of `kind` with this path of names. Throws ApiProblem if nothing has the name. */
export function workloadPage(view: View, kind: string, path: readonly string[]): WorkloadAnswer {
  const subject = find(view, kind, path);
  const { workload, pod, service } = subject;
  const rows = rowsOf(view).filter(
    (row) =>
      (row.from === workload || row.to === workload) &&
      (service === undefined || row.service === service),
  );
  const [callers, called] = [
    rows.filter(({ to }) => to === workload),
    rows.filter(({ from }) => from === workload),
  ];
  const seconds = secondsOf(view);
  const [incoming, outgoing] = [totals(callers, view), totals(called, view)];
  const connections = incoming.count;
  return {
    party: {
      ...(service === undefined
        ? partyOf(workload)
        : { namespace: workload.namespace, name: path[1]!, kind: 'Service' }),
      ...(pod === undefined ? {} : { pod: pod.name, ...addressOf(pod) }),
    },
    ...{ from: view.from, to: Math.min(view.to, view.now) },
    in: { ...incoming.rates, bytes: rate(incoming.bytes, seconds) },
    out: { ...outgoing.rates, bytes: rate(outgoing.bytes, seconds) },
    reset: connections === 0 ? 0 : Math.min(1, incoming.resets / connections),
    callers: neighbours(callers, ({ from }) => from, view),
    called: neighbours(called, ({ to }) => to, view),
    policies: policiesOf(rows, workload, view),
    pods: podsOf(subject, view),
    services: servicesOf(callers),
    timeline: timelineOf(view, 300, callers),
  };
}

function find(view: View, kind: string, path: readonly string[]): Subject {
  const [namespace, name] = kind === 'outside' ? ['', path[0]] : [path[0], path[1]];
  const isKnown = namespace !== undefined && (namespace === '' || view.canSee(namespace));
  const found = isKnown && name ? seek(view, kind, namespace, name) : undefined;
  if (found) return found;
  throw new ApiProblem(
    404,
    'unknown',
    `No flow since the start of the relay names ${kind} ${path.join('/')}.`,
  );
}

function seek(
  { traffic }: View,
  kind: string,
  namespace: string,
  name: string,
): Subject | undefined {
  if (kind === 'pod') {
    for (const workload of traffic.ends.workloads) {
      const pod = workload.namespace === namespace ? workload.pods.get(name) : undefined;
      if (pod) return { workload, pod };
    }
    return undefined;
  }
  if (kind === 'service') {
    const service = `${namespace}/${name}`;
    const row = [...traffic.links.rows].find((each) => each.service === service);
    return row && { workload: row.to, service };
  }
  const workload = traffic.ends.find(namespace, name);
  return workload && { workload };
}

function addressOf({ addresses }: PodSeen): { address?: string } {
  const [address] = addresses;
  return address === undefined ? {} : { address };
}

function totals(rows: readonly LinkRow[], view: View) {
  const counts = { forwarded: 0, dropped: 0, refused: 0, audit: 0 };
  let [bytes, resets] = [0, 0];
  for (const row of rows) {
    const sums = sumsOf(row, view);
    counts[row.verdict] += sums.count;
    bytes += sums.bytesIn + sums.bytesOut;
    resets += sums.resets;
  }
  const seconds = secondsOf(view);
  const rates: LinkRates = {
    forwarded: rate(counts.forwarded, seconds),
    dropped: rate(counts.dropped, seconds),
    refused: rate(counts.refused, seconds),
  };
  return { rates, bytes, resets, count: counts.forwarded };
}

function neighbours(
  rows: readonly LinkRow[],
  otherOf: (row: LinkRow) => Workload,
  view: View,
): Neighbour[] {
  const groups = new Map<string, LinkRow[]>();
  for (const row of rows) {
    const key = `${otherOf(row).id} ${row.protocol} ${row.port}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()]
    .map((group): Neighbour => {
      const [first] = group as [LinkRow];
      const rules = new Map<string, RuleRef>();
      for (const rule of group.flatMap((row) => row.rules)) rules.set(JSON.stringify(rule), rule);
      return {
        ...{ party: partyOf(otherOf(first)), protocol: first.protocol, port: first.port },
        ...totals(group, view).rates,
        last: Math.max(...group.map(({ last }) => last)),
        rules: [...rules.values()].slice(0, 16),
      };
    })
    .sort((a, b) => b.forwarded + b.dropped + b.refused - (a.forwarded + a.dropped + a.refused))
    .slice(0, neighboursMax);
}

function policiesOf(
  rows: readonly LinkRow[],
  workload: Workload,
  view: View,
): WorkloadAnswer['policies'] {
  const found = new Map<
    string,
    {
      policy: RuleRef['policy'];
      directions: Set<'ingress' | 'egress'>;
      allowed: number;
      dropped: number;
    }
  >();
  for (const row of rows) {
    const { count } = sumsOf(row, view);
    for (const { policy, direction, relation } of row.rules) {
      const isOwn = (direction === 'ingress' ? row.to : row.from) === workload;
      if (!isOwn || relation === 'nearest') continue;
      const key = `${policy.kind} ${nameOf(policy)}`;
      const entry = found.get(key) ?? { policy, directions: new Set(), allowed: 0, dropped: 0 };
      entry.directions.add(direction);
      entry[row.verdict === 'forwarded' ? 'allowed' : 'dropped'] += count;
      found.set(key, entry);
    }
  }
  return [...found.values()].map((entry) => ({
    ...entry,
    directions: [...entry.directions].sort(),
  }));
}

function podsOf({ workload, pod }: Subject, view: View): WorkloadAnswer['pods'] {
  const counts = new Map<PodSeen, { rate: number; dropped: number }>();
  const oldest =
    view.traffic.ring.oldest < view.traffic.ring.next
      ? view.traffic.ring.at(view.traffic.ring.oldest).time
      : view.now;
  for (const { from, to, verdict, isNew } of flowsOf(view)) {
    const own =
      to.workload === workload ? to.podSeen : from.workload === workload ? from.podSeen : undefined;
    if (!own) continue;
    const entry = counts.get(own) ?? { rate: 0, dropped: 0 };
    if (verdict !== 'forwarded') entry.dropped++;
    else if (isNew) entry.rate++;
    counts.set(own, entry);
  }
  const seconds = Math.max(1, (Math.min(view.to, view.now) - Math.max(view.from, oldest)) / 1000);
  return (pod ? [pod] : [...workload.pods.values()])
    .map((each) => ({
      ...{ name: each.name, node: each.node, addresses: [...each.addresses] },
      rate: rate(counts.get(each)?.rate ?? 0, seconds),
      dropped: rate(counts.get(each)?.dropped ?? 0, seconds),
    }))
    .sort((a, b) => b.dropped - a.dropped || b.rate - a.rate)
    .slice(0, podsMax);
}

function servicesOf(callers: readonly LinkRow[]): WorkloadAnswer['services'] {
  const ports = new Map<string, Set<string>>();
  const pods = new Map<string, Set<PodSeen>>();
  for (const { service, port, protocol, to } of callers) {
    if (service === '') continue;
    const own = ports.get(service) ?? new Set<string>();
    own.add(`${port}/${protocolName(protocol)}`);
    ports.set(service, own);
    pods.set(service, new Set([...(pods.get(service) ?? []), ...to.pods.values()]));
  }
  return [...ports].map(([name, own]) => ({
    ...{ name, ports: [...own].sort(), endpoints: pods.get(name)!.size },
  }));
}
