import type { PolicyEntry, PolicyRuleEntry } from '@heddle/agent';
import type { ControlSource } from '@heddle/control';
import { exitCodes, Failure } from '@heddle/control/failure';
import { openControl } from '@heddle/inspect/open';
import type { PolicyWorld } from '@heddle/policy';
import { counted, listed, ruleText } from '@heddle/policy-tools';
import {
  age,
  type Cell,
  formatFacts,
  formatTable,
  printJson,
  printLine,
  stateCell,
} from '../../print.ts';
import type { ReadOptions } from '../../read-options.ts';
import { fullName } from '../service.ts';
import { clusterOfAgent } from './cluster.ts';

interface Options extends ReadOptions {
  readonly namespace?: string;
  readonly unused?: boolean;
}

/** A rule as its author wrote it, with the connections of all of its instances. */
export interface CountedRule {
  readonly policy: string;
  readonly direction: PolicyRuleEntry['direction'];
  /** The position in the list of the policy, from 0. */
  readonly rule: number;
  readonly name?: string;
  readonly action: PolicyRuleEntry['action'];
  /** The numbers by which the programs name it. */
  readonly numbers: readonly number[];
  readonly connections: number;
}

/** `heddle policy list`: prints a line for each policy that selects a pod of the node. */
export async function policyList(options: Options): Promise<void> {
  const { output, namespace, unused = false, ...source } = options;
  using control = await openControl(source);
  const all = await policies(control);
  const shown = all.filter(
    ({ policy }) => namespace === undefined || policy.split(' ')[1]!.startsWith(`${namespace}/`),
  );
  const rules = await countedRules(control);
  if (unused) {
    const keys = new Map(shown.map((each) => [each.policy, each]));
    const idle = rules.filter(({ policy, connections }) => connections === 0 && keys.has(policy));
    printUnused(idle, keys, output, control.nowMs);
    return;
  }
  const unusedOf = (key: string) =>
    rules.filter(({ policy, connections }) => policy === key && connections === 0).length;
  if (output === 'json') {
    printJson({ policies: shown.map((each) => ({ ...each, unused: unusedOf(each.policy) })) });
  } else if (shown.length === 0) {
    printLine(
      all.length === 0
        ? 'no policy selects a pod of this node'
        : `no policies in namespace ${namespace}`,
    );
  } else {
    const header = ['POLICY', 'TIER', 'PODS', 'RULES', 'UNUSED', 'CONNECTIONS', 'MODE', 'STATE'];
    const rows = shown.map((each) => line(each, unusedOf(each.policy)));
    process.stdout.write(formatTable(header, rows));
  }
}

function line(entry: PolicyEntry, unused: number): Cell[] {
  const { policy, tier, priority, pods, rules, connections, audited, problems } = entry;
  const place = tier === 'NetworkPolicy' ? '-' : `${tier} ${priority}`;
  const state = stateCell(entry.status, entry.reason ?? problems[0]);
  return [
    ...[policy, place, `${pods}`, `${rules}`],
    unused > 0 ? { text: `${unused}`, style: 'yellow' } : '0',
    connections.toLocaleString('en'),
    audited ? { text: 'audit', style: 'yellow' } : 'enforce',
    problems.length > 0 && entry.status === 'done'
      ? { text: `done, but ${problems[0]}`, style: 'yellow' }
      : state,
  ];
}

function printUnused(
  rules: readonly CountedRule[],
  policies: ReadonlyMap<string, PolicyEntry>,
  output: ReadOptions['output'],
  nowMs: number,
): void {
  const since = ({ policy }: CountedRule) => policies.get(policy)!.since;
  if (output === 'json')
    printJson({ rules: rules.map((rule) => ({ ...rule, since: since(rule) })) });
  else if (rules.length === 0) printLine('each rule has decided a connection');
  else {
    const rows = rules.map((rule): Cell[] => [
      rule.policy,
      `${rule.direction}[${rule.rule}]${rule.name === undefined ? '' : ` "${rule.name}"`}`,
      rule.action,
      age(since(rule), nowMs),
    ]);
    process.stdout.write(formatTable(['POLICY', 'RULE', 'ACTION', 'UNUSED FOR'], rows));
  }
}

/** `heddle policy get`: prints a policy with its rules, and the pods of the node that it selects. */
export async function policyGet(name: string, { output, ...source }: ReadOptions): Promise<void> {
  using control = await openControl(source);
  const all = await policies(control);
  const wanted = [name, `NetworkPolicy ${fullName(name)}`, `ClusterNetworkPolicy ${name}`];
  const found = all.filter(({ policy }) => wanted.includes(policy));
  if (found.length === 0) {
    throw new Failure(
      exitCodes.failed,
      `find policy ${name}: none of that name selects a pod of this node (heddle policy list shows those that do)`,
    );
  }
  const rules = (await countedRules(control)).filter(({ policy }) =>
    found.some((entry) => entry.policy === policy),
  );
  const { world } = await clusterOfAgent(control);
  if (output === 'json') {
    printJson({
      policies: found.map((entry) => ({
        ...entry,
        ruleList: rules.filter(({ policy }) => policy === entry.policy),
        podList: selected(world, entry.policy),
      })),
    });
    return;
  }
  for (const [i, entry] of found.entries()) {
    if (i > 0) printLine();
    printPolicy(entry, rules, world, control.nowMs);
  }
}

function printPolicy(
  entry: PolicyEntry,
  rules: readonly CountedRule[],
  world: PolicyWorld,
  nowMs: number,
): void {
  const { policy, tier, priority, audited, problems, since, connections } = entry;
  const pods = selected(world, policy);
  process.stdout.write(
    formatFacts([
      ['policy', policy],
      ['tier', tier === 'NetworkPolicy' ? tier : `${tier}, priority ${priority}`],
      ['mode', audited ? { text: 'audit: nothing is dropped', style: 'yellow' } : 'enforce'],
      ['state', stateCell(entry.status, entry.reason)],
      ['since', `${age(since, nowMs)} ago`],
      [
        'pods',
        `${counted(entry.pods, 'pod')} of this node${pods.length > 0 ? `: ${listed(pods)}` : ''}`,
      ],
      ['connections', connections.toLocaleString('en')],
      ...problems.map((text): [string, Cell] => ['problem', { text, style: 'red' }]),
    ]),
  );
  const record = world.policies.get(policy);
  const rows = rules
    .filter((rule) => rule.policy === policy)
    .map(({ direction, rule, name, action, connections: count }): Cell[] => {
      const written = record?.[direction]?.[rule];
      return [
        `${direction}[${rule}]`,
        ...(name === undefined ? ['-'] : [name]),
        written && record ? ruleText(written, record, direction) : action,
        count === 0 ? { text: 'unused', style: 'yellow' } : count.toLocaleString('en'),
      ];
    });
  if (rows.length === 0) return;
  printLine();
  process.stdout.write(formatTable(['RULE', 'NAME', 'WHAT', 'CONNECTIONS'], rows));
}

function selected(world: PolicyWorld, key: string): readonly string[] {
  const policy = world.policies.get(key);
  if (!policy) return [];
  const pods = [...world.pods.values()].filter((pod) => world.selects(policy, pod));
  return pods.map(({ namespace, name }) => `${namespace}/${name}`).sort();
}

export async function policies(control: ControlSource): Promise<readonly PolicyEntry[]> {
  const all: PolicyEntry[] = [];
  for await (const entry of control.items<PolicyEntry>('policy.list')) all.push(entry);
  return all;
}

/** Returns the rules as they are written: the instances of a rule with a named port are one. */
export async function countedRules(control: ControlSource): Promise<readonly CountedRule[]> {
  const rules = new Map<string, CountedRule>();
  for await (const entry of control.items<PolicyRuleEntry>('policy.rules')) {
    const { number, policy, direction, rule, name, action, connections } = entry;
    const key = `${policy} ${direction} ${rule}`;
    const known = rules.get(key);
    rules.set(key, {
      ...{ policy, direction, rule, action },
      ...(name === undefined ? {} : { name }),
      numbers: [...(known?.numbers ?? []), ...(number === undefined ? [] : [number])],
      connections: (known?.connections ?? 0) + connections,
    });
  }
  return [...rules.values()];
}
