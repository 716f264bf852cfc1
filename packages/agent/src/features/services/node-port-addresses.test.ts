import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nodePortChoice } from './node-port-addresses.ts';

const own = [
  { address: '192.0.2.1', device: 'eth0' },
  { address: 'fd00::1', device: 'eth0' },
  { address: '198.51.100.1', device: 'bond1' },
  { address: '10.244.0.1', device: 'cni0' },
];

describe('where NodePorts are', () => {
  it('has no ranges without entries, so that the Node object decides', () => {
    assert.deepEqual(nodePortChoice([], own), { ranges: undefined, problems: [] });
  });

  it('has the ranges of the entries, and the addresses of the named network interfaces', () => {
    assert.deepEqual(nodePortChoice(['203.0.113.9/24', 'eth0', 'bond*'], own), {
      ranges: ['203.0.113.0/24', '192.0.2.1/32', 'fd00::1/128', '198.51.100.1/32'],
      problems: [],
    });
  });

  it('names network interfaces that do not exist or have no address', () => {
    assert.deepEqual(nodePortChoice(['eth9', 'th0', 'eth0'], own.slice(0, 1)), {
      ranges: ['192.0.2.1/32'],
      problems: [
        'nodePortAddresses: no network interface eth9 has an address',
        'nodePortAddresses: no network interface th0 has an address',
      ],
    });
  });
});
