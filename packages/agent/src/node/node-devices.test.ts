import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LinkAddress, NetworkEvent, NetworkLink } from '@heddle/netlink';
import { concernsNodeDevices } from './node-devices.ts';

const link = (index: number, name: string): NetworkEvent => ({
  kind: 'link',
  isRemoved: false,
  link: { index, name } as NetworkLink,
});
const address = (scope: LinkAddress['scope']): NetworkEvent => ({
  kind: 'address',
  isRemoved: false,
  address: { link: 9, scope } as LinkAddress,
});
const route = (destination: string): NetworkEvent => ({
  kind: 'route',
  isRemoved: true,
  route: { destination },
});
const known = [{ index: 2 }];

describe('concernsNodeDevices', () => {
  it('is false for what comes and goes with a pod', () => {
    const wanted = { devices: 'auto', podDevices: 'none' };
    const events = [link(9, 'veth9'), address('link'), route('10.244.1.9/32')];
    for (const event of events) assert.equal(concernsNodeDevices(event, wanted, known), false);
  });

  it('is true for a known device, a reachable address, a default route and lost events', () => {
    const wanted = { devices: 'auto', podDevices: 'none' };
    const events = [link(2, 'renamed'), address('universe'), address('site')];
    for (const event of [...events, route('0.0.0.0/0'), route('::/0')]) {
      assert.equal(concernsNodeDevices(event, wanted, known), true, JSON.stringify(event));
    }
    const lost = { kind: 'lost', cause: new Error() } as unknown as NetworkEvent;
    assert.equal(concernsNodeDevices(lost, wanted, known), true);
  });

  it('is true for a link with a name that the configuration wants', () => {
    const wanted = { devices: 'eth0, bond*', podDevices: 'vm*' };
    for (const name of ['eth0', 'bond1', 'vm-7']) {
      assert.equal(concernsNodeDevices(link(9, name), wanted, []), true, name);
    }
    assert.equal(concernsNodeDevices(link(9, 'eth1'), wanted, []), false);
  });
});
