import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { FakeHost } from '../../testing/host.ts';
import { MemoryDatapath } from '../../testing/parts.ts';
import { allFeatures } from '../features/index.ts';
import { agentMetrics } from './agent-metrics.ts';

const root = new URL('../../../../', import.meta.url);
const { registry } = agentMetrics([], () => assert.fail('nothing is asked for'));
for (const { open } of allFeatures) {
  open(new FakeHost(nodePlatform(() => {})), new MemoryDatapath()).addMetrics?.(registry);
}
const infos = new Map(registry.infos.map((info) => [info.name, info]));

/** Metrics that an expression of PromQL names: words that are no function, keyword or label. */
function metricsOf(expression: string): string[] {
  const bare = expression
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\b(by|without|on|ignoring)\s*\([^)]*\)/g, '');
  return [...bare.matchAll(/[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w*\s*\()/g)]
    .map(([word]) => word)
    .filter(
      (word) => word.includes('_') && !word.startsWith('__') && word !== 'histogram_quantile',
    );
}

describe('metrics', () => {
  it('are named by the rules', () => {
    for (const { name, kind, help } of infos.values()) {
      assert.match(name, /^(heddle|kubeproxy|process)_[a-z0-9_]+$/);
      assert.equal(name.endsWith('_total'), kind === 'counter', name);
      assert.match(help, /^[A-Z1].*\.$/, name);
    }
  });

  it('are all in docs/metrics.md, as they are', () => {
    const page = readFileSync(new URL('docs/metrics.md', root), 'utf8');
    const rows = [...page.matchAll(/^\| `([^`]+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$/gm)];
    const documented = rows.map(([, name, kind, labels, help]) => ({ name, kind, labels, help }));
    const registered = [...infos.values()].map(({ name, kind, labels, help }) => ({
      ...{ name, kind, help },
      labels: labels.map((label) => `\`${label}\``).join(', '),
    }));
    const byName = (a: { name?: string }, b: { name?: string }) => (a.name! < b.name! ? -1 : 1);
    assert.deepEqual(documented.sort(byName), registered.sort(byName));
  });

  it('are what the dashboard asks for', () => {
    const dashboard = JSON.parse(readFileSync(new URL('deploy/grafana/heddle.json', root), 'utf8'));
    const expressions: string[] = [];
    const collect = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      for (const [key, inner] of Object.entries(value)) {
        if ((key === 'expr' || key === 'query') && typeof inner === 'string') {
          if (inner !== 'prometheus') expressions.push(inner);
        } else collect(inner);
      }
    };
    collect(dashboard);
    assert.ok(expressions.length > 15);
    const asked = new Set<string>();
    for (const expression of expressions) {
      const names = metricsOf(expression);
      assert.ok(names.length > 0, expression);
      for (const name of names) {
        const base = name.replace(/_(bucket|sum|count)$/, '');
        const info = infos.get(name) ?? infos.get(base);
        assert.ok(info, `${name} in ${expression}`);
        assert.equal(info.name !== name, info.kind === 'histogram', `${name} in ${expression}`);
        asked.add(info.name);
      }
    }
    // A dashboard that shows half of what there is would hide the other half.
    const unasked = [...infos.keys()].filter((name) => !asked.has(name));
    assert.deepEqual(unasked, ['process_virtual_memory_bytes', 'process_max_fds']);
  });
});
