import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLab } from '@heddle/lab';
import { addRoute, createVxlan, findLink } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import { PacketSizesWatch } from './packet-sizes.ts';

const platform = nodePlatform();
const largest = 192 * 1024;

/** Returns the size of packets before segmentation of new pods, as an agent finds it that starts on the node. */
function segmentSizeOn(node: { enter<Result>(work: () => Result): Result }): number | undefined {
  return node.enter(() => {
    using watch = new PacketSizesWatch(
      platform,
      { devices: 'eth0', podMTU: undefined, routing: 'auto' },
      () => {},
    );
    return watch.sizes.segmentSize;
  });
}

test('pods send packets of BIG TCP unless a tunnel leads to pods of another node', () => {
  using lab = createLab(platform, { name: `sizes-${process.pid}` });
  const node = lab.nodes[0]!;
  const eth0 = node.link('eth0').segments.tsoMax;
  assert.equal(segmentSizeOn(node), Math.min(largest, eth0));
  node.configure((socket) =>
    createVxlan(socket, { name: 'heddle0', mtu: 1450, arp: false, up: true }, { port: 8472 }),
  );
  assert.equal(segmentSizeOn(node), Math.min(largest, eth0), 'with a tunnel that leads nowhere');
  node.configure((socket) => {
    const { index: link } = findLink(socket, 'heddle0')!;
    const encap = { id: 1, destination: '192.0.2.2' };
    addRoute(socket, { destination: '10.244.2.0/24', link, encap, scope: 'link' });
  });
  assert.equal(segmentSizeOn(node), undefined);
});
