import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp } from '@heddle/sys';
import { NoRoom } from '../core/keyed-map.ts';
import type { ArrayMemory } from '../core/mapped-array.ts';
import { decodePod, decodePodDevice, podDeviceSize, podSize } from '../generated/abi.ts';
import { PodTables, type ProgrammedPod, podPlaces } from './pod-tables.ts';

function memoryOf(length: number, size: number): ArrayMemory & { readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(length * size);
  return { length, bytes, first: () => bytes, wrote: () => {} };
}

function emptyTables(places = podPlaces) {
  const pods = memoryOf(places, podSize);
  const devices = memoryOf(places, podDeviceSize);
  return { pods, devices, tables: new PodTables(pods, devices) };
}

const pod = (ifindex: number, ...addresses: string[]): ProgrammedPod => ({
  ifindex,
  kind: 'veth',
  mac: '02:00:00:00:00:01',
  addresses,
  mtu: 1450,
});

/** Returns the live entries: interfaces by address. */
function entries({ pods, devices }: ReturnType<typeof emptyTables>) {
  const found: Record<string, number> = {};
  for (let place = 0; place < pods.length; place++) {
    const { address, ifindex } = decodePod(pods.bytes, place * podSize);
    if (ifindex !== 0) found[formatIp(address)] = ifindex;
  }
  const interfaces: number[] = [];
  for (let place = 0; place < devices.length; place++) {
    const { ifindex } = decodePodDevice(devices.bytes, place * podDeviceSize);
    if (ifindex !== 0) interfaces.push(ifindex);
  }
  return { found, interfaces: interfaces.sort((a, b) => a - b) };
}

test('a pod replaces what its interface had, and takes its addresses from others', () => {
  const all = emptyTables();
  const { tables } = all;
  tables.set(pod(7, '10.244.1.5', 'fd00::5'));
  tables.set(pod(8, '10.244.1.6'));
  tables.set(pod(7, '10.244.1.7'));
  assert.deepEqual(entries(all), {
    found: { '10.244.1.6': 8, '10.244.1.7': 7 },
    interfaces: [7, 8],
  });
  tables.set(pod(9, '10.244.1.7', 'fd00::5'));
  tables.remove(7);
  tables.remove(4711);
  assert.deepEqual(entries(all), {
    found: { '10.244.1.6': 8, '10.244.1.7': 9, 'fd00::5': 9 },
    interfaces: [8, 9],
  });
});

test('an address without room is refused before anything is written', () => {
  const all = emptyTables();
  const { tables } = all;
  const far = (n: number) => `10.244.${8 * n}.77`;
  for (let n = 1; n <= 4; n++) tables.set(pod(n, far(n)));
  tables.set(pod(9, 'fd00::1'));
  const before = entries(all);
  assert.ok(tables.hasRoom(far(1)), 'an address that has an entry');
  assert.ok(!tables.hasRoom(far(5)));
  assert.throws(() => tables.set(pod(9, 'fd00::2', far(5))), NoRoom);
  assert.throws(() => tables.set(pod(10, far(5))), NoRoom);
  assert.deepEqual(entries(all), before);
  tables.remove(2);
  tables.set(pod(10, far(5)));
  assert.equal(entries(all).found[far(5)], 10);
});

test('the next agent finds what the one before has left, except entries that cannot be found', () => {
  const all = emptyTables();
  all.tables.set(pod(7, '10.244.1.5', 'fd00::5'));
  const adopted = new PodTables(all.pods, all.devices);
  assert.deepEqual([...adopted.ifindexes], [7]);
  adopted.remove(7);
  assert.deepEqual(entries(all), { found: {}, interfaces: [] });
  // A table of another size, whose entries were copied place by place.
  const large = emptyTables(64);
  large.tables.set(pod(40, '10.244.1.20', '10.244.1.2'));
  const small = emptyTables(16);
  small.pods.bytes.set(large.pods.bytes.subarray(0, small.pods.bytes.length));
  small.devices.bytes.set(large.devices.bytes.subarray(40 * podDeviceSize, 41 * podDeviceSize));
  assert.deepEqual([...new PodTables(small.pods, small.devices).ifindexes], []);
  assert.deepEqual(entries(small), { found: {}, interfaces: [] });
});

test('the subjects of a pod survive new entries and the agent, and end with the pod', () => {
  const all = emptyTables();
  const { tables } = all;
  const subjects = (address: string) => tables.policyOf(address);
  const written = (of: PodTables) => Object.fromEntries(of.policed());
  /** Returns the interfaces whose pods have a policy, as the programs see it. */
  const policed = () => {
    const found: number[] = [];
    for (let place = 0; place < all.devices.length; place++) {
      const { ifindex, hasPolicy } = decodePodDevice(all.devices.bytes, place * podDeviceSize);
      if (hasPolicy === 1) found.push(ifindex);
    }
    return found;
  };
  tables.setPolicy(['10.244.1.5', 'fd00::5'], { egress: 2, ingress: 3 });
  tables.set(pod(7, '10.244.1.5', 'fd00::5'));
  tables.set(pod(8, '10.244.1.6'));
  assert.deepEqual(subjects('10.244.1.5'), { egress: 2, ingress: 3 });
  assert.deepEqual(policed(), [7]);
  tables.setPolicy(['10.244.1.6'], { egress: 0, ingress: 4 });
  tables.setRates(['10.244.1.6'], 9);
  tables.set({ ...pod(8, '10.244.1.6'), mtu: 1400 });
  assert.deepEqual(tables.problems({ ...pod(8, '10.244.1.6'), mtu: 1400 }), []);
  assert.deepEqual(policed(), [7, 8]);
  assert.deepEqual(written(new PodTables(all.pods, all.devices)), {
    '10.244.1.5': { egress: 2, ingress: 3 },
    'fd00::5': { egress: 2, ingress: 3 },
    '10.244.1.6': { egress: 0, ingress: 4 },
  });
  tables.setPolicy(['10.244.1.6'], { egress: 0, ingress: 0 });
  assert.deepEqual(policed(), [7]);
  // The next pod with the address does not inherit the subjects.
  tables.defaultSubjects = 1;
  tables.remove(7);
  tables.set(pod(9, '10.244.1.5'));
  assert.deepEqual(subjects('10.244.1.5'), { egress: 1, ingress: 1 });
  tables.set(pod(10, '10.244.1.6'));
  tables.removePolicy(['10.244.1.6']);
  assert.deepEqual(subjects('10.244.1.6'), { egress: 1, ingress: 1 });
  assert.deepEqual(policed(), [9, 10]);
});

test('an agent without settings keeps the subjects of a pod, but gives a new pod the default ones', () => {
  const all = emptyTables();
  all.tables.set(pod(7, '10.244.1.5'));
  all.tables.setPolicy(['10.244.1.5'], { egress: 2, ingress: 3 });
  const next = new PodTables(all.pods, all.devices);
  next.defaultSubjects = 1;
  next.set({ ...pod(7, '10.244.1.5'), mtu: 1400 });
  assert.deepEqual(next.policyOf('10.244.1.5'), { egress: 2, ingress: 3 });
  next.set(pod(8, '10.244.1.5'));
  assert.deepEqual(next.policyOf('10.244.1.5'), { egress: 1, ingress: 1 });
});
