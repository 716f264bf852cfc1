import assert from 'node:assert/strict';
import { test } from 'node:test';
import { askHttp, createLab, describeCaptured, eth, startBackend, Tap } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { sites, wireEnd } from './sites.ts';
import { redirectBack } from './variants/redirect.ts';

test('the direct path of an external client is that of a service: through node 1 in both directions', async () => {
  const site = sites['north-south'];
  using lab = createLab(nodePlatform(), { ...site.lab, name: `sites-${process.pid}` });
  site.prepare(lab);
  for (const [i, name] of site.backendPods.entries()) {
    const pod = lab.host(name);
    assert.equal(pod.addresses.v4, site.backendAddresses[i]);
    await startBackend(pod, { http: [80] });
    const client = lab.host(site.client);
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

test('what enters a node with one device comes out of it again: forwarded, or sent back bare', () => {
  const site = sites['one-armed'];
  using lab = createLab(nodePlatform(), { ...site.lab, name: `one-armed-${process.pid}` });
  site.prepare(lab);
  using tap = Tap.open(lab.underlay, wireEnd);
  const node = lab.nodes[0]!.link('eth0').address;
  const frame = eth({ src: lab.underlay.link(wireEnd).address, dst: node })
    .ipv4({ src: '203.0.113.1', dst: site.backendAddresses[0]! })
    .udp({ sport: 4000, dport: 8080 })
    .payload('there');
  const next = () => tap.find('packet', ({ packet }) => `${packet}`.includes('"there"')).packet;
  tap.send(frame);
  const forwarded = next();
  assert.equal(forwarded.layer('ipv4')!.ttl, 63);
  assert.equal(forwarded.layer('eth')!.src, node);
  {
    using _ = redirectBack(lab.nodes[0]!.platform, lab.nodes[0]!);
    tap.send(frame);
    assert.equal(`${next()}`, `${frame}`);
  }
  tap.send(frame);
  assert.equal(next().layer('ipv4')!.ttl, 63, 'the program is gone');
});
