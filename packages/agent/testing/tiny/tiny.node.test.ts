import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { ApiServer } from '@heddle/kube/testing/api-server';
import { defineKind } from '@heddle/kube/testing/object-store';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { Agent, type AgentParts } from '../../src/agent.ts';
import type { AgentStatus } from '../../src/agent-status.ts';
import { readConfig } from '../../src/config.ts';
import { allFeatures } from '../../src/features/index.ts';
import { openClusterSource, openFolderSource } from '../../src/source/index.ts';
import { validateManifests } from '../../src/validate.ts';
import { openAccess } from '../open-access.ts';
import { freePins, MemoryDatapath, service } from '../parts.ts';
import { Talk } from '../talk.ts';
import { type BellDatapath, type BellStatus, tinyFeature } from './tiny.ts';

class Datapath extends MemoryDatapath implements BellDatapath {
  readonly bells = new Map<string, string>();
}

/** All features and one more: this line is all that wires it. */
const features = [...allFeatures, tinyFeature];

const bell = (name: string, ringAt: string) => ({
  ...{ apiVersion: 'tiny.example/v1', kind: 'Bell' },
  ...{ metadata: { name, namespace: 'default' }, spec: { ringAt } },
});

let folder: string;
let datapath: Datapath;
let agent: Agent | undefined;
let lines: string[];

function start(openSource: AgentParts<Datapath>['openSource'], manifests?: string): void {
  datapath = new Datapath();
  datapath.bells.set('default/old', '00:00');
  const config = readConfig(undefined, {
    socket: join(folder, 'agent.sock'),
    ...(manifests === undefined ? {} : { manifests }),
  });
  agent = new Agent({
    platform: nodePlatform((level, message) => lines.push(`${level} ${message}`)),
    config: {
      ...config,
      ...{ node: 'n1', cgroup: '/', healthAddress: 'off', metricsAddress: '127.0.0.1:0' },
    },
    ...{ version: '1', features, takePins: freePins, openDatapath: () => datapath, openSource },
  });
}

/** Returns the status, the metric and the list of the tiny feature, as users see them. */
async function shown() {
  const talk = new Talk(join(folder, 'agent.sock'));
  try {
    const status = await talk.ask<AgentStatus & BellStatus>('status');
    const { items } = await talk.ask<{ items: { key: string; ringAt: string }[] }>('bell.list');
    const { address } = status.servers.find(({ name }) => name === 'metrics')!;
    const metrics = await (await fetch(`http://${address}/metrics`)).text();
    const metric = (name: RegExp) => name.exec(metrics)?.[1];
    return {
      ringing: status.bells.ringing,
      rows: status.rows.done,
      items: items.map(({ key, ringAt }) => `${key} ${ringAt}`),
      metric: metric(/^heddle_bells (\d+)$/m),
      changes: metric(/^heddle_object_changes_total\{kind="bell"\} (\d+)$/m),
    };
  } finally {
    talk.socket.destroy();
  }
}

describe('a feature that is wired by one line', { timeout: 30_000 }, () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-tiny-'));
    lines = [];
  });
  afterEach(() => {
    agent?.[Symbol.dispose]();
    agent = undefined;
    rmSync(folder, { recursive: true });
  });

  it('is served from a folder, and appears in status, metrics, control, events and validation', async () => {
    const manifests = join(folder, 'manifests');
    mkdirSync(manifests);
    const write = (...objects: unknown[]) =>
      writeFileSync(
        join(manifests, 'all.yaml'),
        objects.map((o) => JSON.stringify(o)).join('\n---\n'),
      );
    write(bell('noon', '12:00'), service('web', '10.96.0.1'));
    start(
      ({ onChange }, { reader }) =>
        openFolderSource(
          nodePlatform(() => {}),
          manifests,
          { reader, onChange },
        ),
      manifests,
    );
    await eventually('the folder is read', () => !datapath.bells.has('default/old'));
    assert.deepEqual([...datapath.bells], [['default/noon', '12:00']]);
    assert.deepEqual(await shown(), {
      ringing: 1,
      rows: 2,
      items: ['default/noon 12:00'],
      metric: '1',
      changes: '1',
    });
    write(bell('noon', '12:01'), service('web', '10.96.0.1'));
    await eventually(
      'the change is programmed',
      () => datapath.bells.get('default/noon') === '12:01',
    );
    assert.ok(lines.includes('info manifests read: 2 rows programmed'));
    assert.ok(lines.includes('info default/noon programmed at 12:01'));
    const bytes = new TextEncoder().encode(JSON.stringify(bell('noon', '12:00')));
    const { objects, notes } = validateManifests(features, [{ name: 'a.json', bytes }]);
    assert.deepEqual([objects.bell, notes], [1, []]);
  });

  it('is served from an API server', async () => {
    const traits = {
      apiVersion: 'tiny.example/v1',
      group: 'apis/tiny.example/v1',
      plural: 'bells',
    };
    defineKind('Bell', { ...traits, namespaced: true });
    const server = await ApiServer.start();
    try {
      server.set({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } });
      server.set(bell('noon', '12:00'));
      start((listener, demand) =>
        openClusterSource({
          ...{ platform: nodePlatform(() => {}), access: openAccess(server.url) },
          ...{ demand, listener },
        }),
      );
      await eventually('the first lists are programmed', () => !datapath.bells.has('default/old'));
      assert.deepEqual([...datapath.bells], [['default/noon', '12:00']]);
      server.set(bell('dusk', '18:00'));
      await eventually('the change is programmed', () => datapath.bells.size === 2);
      server.remove('Bell', 'default', 'noon');
      await eventually('the removal is programmed', () => datapath.bells.size === 1);
      const { ringing, items } = await shown();
      assert.deepEqual([ringing, items], [1, ['default/dusk 18:00']]);
    } finally {
      agent?.[Symbol.dispose]();
      agent = undefined;
      await server[Symbol.asyncDispose]();
    }
  });
});
