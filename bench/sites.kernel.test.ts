import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askHttp, createLab, describeCaptured, startBackend, Tap } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { sites } from './sites.ts';

test('the direct path from outside is that of a service: through node 1, there and back', async () => {
  const site = sites['north-south'];
  using lab = createLab(nodePlatform(), { ...site.lab, name: `sites-${process.pid}` });
  site.prepare(lab);
  for (const [i, name] of site.backendPods.entries()) {
    const pod = lab.place(name);
    assert.equal(pod.addresses.v4, site.backendAddresses[i]);
    await startBackend(pod, { http: [80] });
    const client = lab.place(site.client);
    using tap = Tap.open(lab.nodes[0]!, 'eth0');
    assert.equal(askHttp(client, { address: pod.addresses.v4, port: 80 }), name);
    const seen = tap.drain();
    const there = `ipv4 ${client.addresses.v4} > ${pod.addresses.v4} `;
    const back = `ipv4 ${pod.addresses.v4} > ${client.addresses.v4} `;
    for (const [direction, ends] of [
      ['in', there],
      ['out', there],
      ['in', back],
      ['out', back],
    ]) {
      const found = seen.filter(
        (each) => each.direction === direction && `${each.packet}`.includes(ends!),
      );
      assert.ok(found.length > 0, `${direction} ${ends} among\n${describeCaptured(seen)}`);
    }
    assert.doesNotMatch(describeCaptured(seen), /redirect/);
  }
});
