import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LinkAddress, Neighbour, NetworkLink } from '@heddle/netlink';
import { formatIp, parseIp } from '@heddle/sys';
import type { DumpedNetwork } from '../dump/dump.ts';
import { addressAt, dumpedRoutes, fib } from './routes.ts';

const link = (index: number, name: string, mtu = 1500) =>
  ({ index, name, mtu, address: `02:00:00:00:00:0${index}` }) as NetworkLink;
const address = (on: number, text: string, prefixLength: number) =>
  ({ link: on, address: text, prefixLength, scope: 'universe' }) as LinkAddress;

const network: DumpedNetwork = {
  links: [link(2, 'eth0'), link(3, 'pod1', 1400)],
  addresses: [
    address(2, '192.0.2.1', 24),
    address(2, '198.51.100.1', 24),
    address(2, '2001:db8::1', 64),
  ],
  routes: [
    { destination: '0.0.0.0/0', via: '198.51.100.254', link: 2, metric: 200 },
    { destination: '0.0.0.0/0', via: '192.0.2.254', link: 2, metric: 100 },
    { destination: '10.244.1.2/32', link: 3, source: '192.0.2.1' },
    { destination: '10.9.0.0/16', type: 'blackhole' },
    { destination: '10.8.0.0/16', type: 'unreachable' },
    { destination: '10.9.1.0/24', link: 2, table: 77 },
    { destination: '192.0.2.255/32', type: 'broadcast', link: 2, table: 255 },
    { destination: '::/0', via: '2001:db8::fe', link: 2 },
  ],
  neighbours: [
    { link: 2, address: '192.0.2.254', lladdr: '02:00:00:00:00:fe' } as Neighbour,
    { link: 2, address: '2001:db8::fe', lladdr: '' } as Neighbour,
  ],
  forwards: { ipv4: true, ipv6: true },
};

/** Looks up a route with BPF_FIB_LOOKUP_SRC. */
function ask(to: string, length = 100, of = network) {
  const lookup = new Uint8Array(64);
  const view = new DataView(lookup.buffer);
  const isV4 = !to.includes(':');
  lookup[0] = isV4 ? 2 : 10;
  view.setUint16(6, length, true);
  lookup.set(parseIp(to)!.subarray(isV4 ? 12 : 0), 32);
  const result = dumpedRoutes(of)(lookup, 1 << 4);
  return {
    result,
    link: view.getUint32(8, true),
    mtu: view.getUint16(6, true),
    source: formatIp(addressAt(lookup, 16, isV4)),
    hop: formatIp(addressAt(lookup, 32, isV4)),
    mac: lookup[63],
  };
}

describe('routes of a dump', () => {
  it('routes of a dump are chosen by the longest prefix, then the lowest metric, with the next hop’s neighbour entry', () => {
    const outside = ask('203.0.113.9');
    assert.deepEqual(outside, {
      ...{ result: fib.success, link: 2, mtu: 1500, source: '192.0.2.1', hop: '192.0.2.254' },
      mac: 0xfe,
    });
    const pod = ask('10.244.1.2');
    assert.deepEqual([pod.result, pod.link, pod.hop], [fib.noNeighbour, 3, '10.244.1.2']);
    assert.equal(pod.source, '192.0.2.1');
  });

  it('routes of a dump are separate for each family, and a neighbour without a link-layer address does not count', () => {
    const { result, link: out, source, hop } = ask('2001:db8:1::1');
    assert.deepEqual(
      [result, out, source, hop],
      [fib.noNeighbour, 2, '2001:db8::1', '2001:db8::fe'],
    );
    const v4 = { ...network, routes: network.routes.slice(-1) };
    assert.equal(ask('203.0.113.9', 100, v4).result, fib.unreachable);
  });

  it('give the kernel’s results for packets that are not forwarded', () => {
    assert.equal(ask('192.0.2.1').result, fib.notForwarded);
    assert.equal(ask('192.0.2.255').result, fib.notForwarded);
    assert.equal(ask('10.8.0.1').result, fib.unreachable);
    assert.equal(ask('10.9.1.1').result, fib.blackhole, 'other tables do not count');
    const off = { ...network, forwards: { ipv4: false, ipv6: true } };
    assert.equal(ask('203.0.113.9', 100, off).result, fib.forwardingDisabled);
    const large = ask('10.244.1.2', 1401);
    assert.deepEqual([large.result, large.mtu], [fib.tooLarge, 1400]);
  });
});
