import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { nodeKind, type ObjectChange, readObject } from '@heddle/objects';
import { nodePlatform } from '@heddle/sys/node';
import { FakeHost } from '../../../testing/host.ts';
import { MemoryDatapath, service, slice } from '../../../testing/parts.ts';
import type { Feature } from '../../feature.ts';
import { servicesFeature } from './services.ts';

let host: FakeHost;
let feature: Feature;

const set = (object: unknown): ObjectChange => {
  const read = readObject(object);
  assert.ok(read.kind === 'record');
  return { op: 'set', object: read.record };
};
const nodeWatch = () => feature.watches.find(({ kind }) => kind === nodeKind)!;

describe('services feature', () => {
  beforeEach(() => {
    host = new FakeHost(nodePlatform(() => {}));
    feature = servicesFeature.open(host, new MemoryDatapath());
  });
  afterEach(() => feature[Symbol.dispose]());

  it('watches all Nodes once it observes a service that asks for tunnels', () => {
    assert.equal(nodeWatch().fieldSelector, 'metadata.name=n1');
    const tunnelled = service('web', '10.96.0.1');
    const annotations = { 'heddle.io/forwarding': 'dsr' };
    feature.observe!(set(service('api', '10.96.0.2')));
    assert.equal(host.rewatched, 0);
    for (let i = 0; i < 2; i++) {
      feature.observe!(set({ ...tunnelled, metadata: { ...tunnelled.metadata, annotations } }));
    }
    assert.equal(host.rewatched, 1);
    assert.equal(nodeWatch().fieldSelector, undefined);
  });

  it('watches all Nodes from the start where the configuration asks for tunnels', () => {
    feature[Symbol.dispose]();
    host = new FakeHost(
      nodePlatform(() => {}),
      { forwarding: 'hybrid' },
    );
    feature = servicesFeature.open(host, new MemoryDatapath());
    assert.equal(nodeWatch().fieldSelector, undefined);
  });

  it('passes the endpoints of default/kubernetes to the source, and keeps the last ones', () => {
    const kubernetes = (...addresses: string[]) => {
      const made = slice('kubernetes', addresses);
      return {
        ...made,
        metadata: { ...made.metadata, name: 'kubernetes' },
        ports: [{ name: 'https', port: 6443 }],
      };
    };
    feature.observe!(set(kubernetes('192.0.2.1', '192.0.2.2')));
    feature.observe!(set(slice('web', ['10.0.0.1'])));
    assert.deepEqual(host.apiServers, [
      [
        { address: '192.0.2.1', port: 6443 },
        { address: '192.0.2.2', port: 6443 },
      ],
    ]);
    feature.observe!(set(kubernetes()));
    feature.observe!({ op: 'delete', kind: 'slice', namespace: 'default', name: 'kubernetes' });
    assert.equal(host.apiServers.length, 1);
    feature.observe!(set(kubernetes('192.0.2.3')));
    assert.deepEqual(host.apiServers[1], [{ address: '192.0.2.3', port: 6443 }]);
  });
});
