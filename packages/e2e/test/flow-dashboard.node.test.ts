// The dashboard of flows asks for series that the observer of the deployment has.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { deploymentObjects, readSettings } from '@heddle/deploy';
import { eventType, FlowMetrics, ipProtocol } from '@heddle/hubble';
import { LostEventSource, TrafficDirection, Verdict } from '@heddle/hubble/messages';
import { dnsAnswer, flowRecord, shop } from '@heddle/hubble/testing/flows';

interface Container {
  readonly name: string;
  readonly args: readonly string[];
}

/** Returns the names of the labels of each metric, as the observer of the deployment serves them. */
function servedLabels(): Map<string, ReadonlySet<string>> {
  const objects = deploymentObjects(readSettings(['visibility=true'], '0'));
  const daemonSet = objects.find(({ kind }) => kind === 'DaemonSet')!;
  const { spec } = (
    daemonSet.spec as unknown as { template: { spec: { containers: Container[] } } }
  ).template;
  const { args } = spec.containers.find(({ name }) => name === 'observer')!;
  const metrics = new FlowMetrics(args.filter((_, i) => args[i - 1] === '--metrics'));
  metrics.add(flowRecord());
  metrics.add(flowRecord({ verdict: Verdict.DROPPED, dropReason: 133, eventType: eventType.drop }));
  metrics.add(
    flowRecord({ eventType: eventType.policyVerdict, direction: TrafficDirection.EGRESS }),
  );
  metrics.add(flowRecord({ protocol: ipProtocol.icmp, destinationParty: shop }));
  metrics.add(flowRecord({ dns: dnsAnswer, eventType: eventType.layer7 }));
  metrics.lose({ source: LostEventSource.OBSERVER_EVENTS_QUEUE, count: 1, first: 0, last: 0 });
  const served = new Map<string, ReadonlySet<string>>();
  for (const [, name, labels] of metrics.text().matchAll(/^(\w+)\{(.*)\} /gm)) {
    served.set(name!, new Set(Array.from(labels!.matchAll(/(\w+)="/g), ([, label]) => label!)));
  }
  return served;
}

/** Returns the expressions of a dashboard, those of its variables, too. */
function expressionsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    (key === 'expr' || key === 'query') && typeof inner === 'string'
      ? [inner]
      : expressionsOf(inner),
  );
}

/** Labels that Prometheus adds. */
const added = ['instance', 'job'];

test('the dashboard of flows has each metric of the observer, and no other metrics and labels', () => {
  const file = new URL('../../../deploy/grafana/flows.json', import.meta.url);
  const served = servedLabels();
  const asked = new Set<string>();
  for (const expression of expressionsOf(JSON.parse(readFileSync(file, 'utf8')))) {
    if (expression === 'prometheus') continue;
    const [name] = /\bhubble_\w+/.exec(expression) ?? [];
    const labels = name === undefined ? undefined : served.get(name);
    assert.ok(name !== undefined && labels, `the observer serves no metric of ${expression}`);
    asked.add(name);
    const wanted = [
      ...Array.from(expression.matchAll(/(\w+)=~?"/g), ([, label]) => label!),
      ...(/\bby \(([^)]*)\)/.exec(expression)?.[1]?.split(', ') ?? []),
      ...(/^label_values\(\w+, (\w+)\)/.exec(expression)?.slice(1) ?? []),
    ];
    for (const label of wanted) {
      assert.ok(labels.has(label) || added.includes(label), `label ${label} of ${expression}`);
    }
  }
  assert.deepEqual([...asked].sort(), [...served.keys()].sort());
});
