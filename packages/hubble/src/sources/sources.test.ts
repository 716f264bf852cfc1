import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CtEntry, ctEntrySize, ctState, encodeCtEntry } from '@heddle/datapath/abi';
import { formatIp, parseIp } from '@heddle/sys';
import { flowRecord } from '../../testing/flows.ts';
import type { FlowRecord } from '../flows/record.ts';
import { TraceObservationPoint, TraceReason, TrafficDirection } from '../generated/flow/flow_pb.js';
import { AgentNames } from './agent-names.ts';
import { connectionRecords, dropRecord, passRecords } from './records.ts';
import { type ConnectionChange, ConnectionSweep } from './sweep.ts';

const names = new AgentNames('default', 'n1');
names.apply({
  isFull: true,
  items: [
    {
      ...{ kind: 'pod', namespace: 'shop', name: 'cart-1', node: 'n1', labels: [] },
      addresses: ['10.244.1.5', 'fd00:1::5'],
    },
    {
      ...{ kind: 'service', namespace: 'shop', name: 'cart', addresses: ['10.96.0.7'] },
      ports: [{ protocol: 'TCP', port: 80, nodePort: 30080 }],
    },
    {
      ...{ kind: 'node', namespace: '', name: 'n2', labels: [] },
      ...{ addresses: ['192.0.2.2'], ranges: ['10.244.2.0/24'] },
    },
  ],
});
names.setNode(['192.0.2.1'], new Map([[7, 'hd12']]));

function entry(state: number, properties: Partial<CtEntry> = {}, tick = 1): CtEntry {
  return {
    client: parseIp('203.0.113.9')!,
    frontend: parseIp('192.0.2.1')!,
    backend: parseIp('10.244.1.5')!,
    ...{ clientPort: 40000, frontendPort: 30080, backendPort: 8080, sourcePort: 40000 },
    backendId: 3,
    stateWord: (state << 16) | tick,
    ...properties,
  };
}

/** A table of four entries, and a sweep over it. */
class Table {
  readonly bytes = new Uint8Array(5 * ctEntrySize);
  readonly #sweep = new ConnectionSweep(5);

  set(number: number, value: CtEntry): void {
    encodeCtEntry(value, this.bytes, number * ctEntrySize);
  }

  changes(now = 100): ConnectionChange[] {
    return [...this.#sweep.sweep(this.bytes, 4, now)];
  }

  /** Returns what happened, in words. */
  events(now = 100): string[] {
    return this.changes(now).map(({ protocol, isNew, isAnswered, isEnded, phase }) =>
      [
        ...[protocol, phase, ...(isNew ? ['new'] : [])],
        ...[...(isAnswered ? ['answered'] : []), ...(isEnded ? ['ends'] : [])],
      ].join(' '),
    );
  }
}

test('a connection is reported when it opens, is answered and ends', () => {
  const table = new Table();
  assert.deepEqual(table.events(), []);
  table.set(2, entry(ctState.tcpSyn));
  assert.deepEqual(table.events(), ['TCP opening new']);
  assert.deepEqual(table.events(), []);
  table.set(2, entry(ctState.tcpEstablished));
  assert.deepEqual(table.events(), ['TCP open answered']);
  table.set(2, entry(ctState.tcpClientFin));
  assert.deepEqual(table.events(), ['TCP ended ends']);
  table.set(2, entry(ctState.tcpClosedByClient));
  table.set(2, entry(ctState.free));
  assert.deepEqual(table.events(), []);
});

test('a connection that opens and ends between two sweeps is not missed', () => {
  const table = new Table();
  table.events();
  table.set(1, entry(ctState.tcpClosedByClient));
  table.set(2, entry(ctState.tcpReset, { clientPort: 2 }));
  const unconfirmed = ((ctState.tcpReset << 16) | (1 << 30)) >>> 0;
  table.set(3, entry(ctState.tcpReset, { clientPort: 3, stateWord: unconfirmed }));
  assert.deepEqual(table.events(), [
    ...['TCP ended new answered ends', 'TCP reset new answered ends', 'TCP reset new ends'],
  ]);
});

test('an entry that serves another connection at once is a new connection', () => {
  const table = new Table();
  table.events();
  table.set(1, entry(ctState.udp));
  assert.deepEqual(table.events(), ['UDP open new answered']);
  for (const other of [
    { clientPort: 41000 },
    { client: parseIp('203.0.113.10')! },
    { frontendPort: 53 },
    { backendPort: 53 },
  ]) {
    table.set(1, entry(ctState.udp, other));
    assert.deepEqual(table.events(), ['UDP open new answered']);
  }
});

test('a connection with the same addresses and ports is new after the earlier one has ended', () => {
  const table = new Table();
  table.events();
  table.set(1, entry(ctState.tcpClosedByClient));
  table.events();
  table.set(1, entry(ctState.tcpSyn));
  assert.deepEqual(table.events(), ['TCP opening new']);
});

test('connections of the first sweep may be old, and ones with packets are repeated each minute', () => {
  const table = new Table();
  table.set(1, entry(ctState.tcpEstablished));
  table.set(2, entry(ctState.icmp));
  assert.deepEqual(table.events(100), ['TCP open', 'ICMP open']);
  table.set(1, entry(ctState.tcpEstablished, {}, 50));
  assert.deepEqual(table.events(150), []);
  table.set(1, entry(ctState.tcpEstablished, {}, 70));
  assert.deepEqual(table.events(170), ['TCP open']);
  assert.deepEqual(table.events(400), [], 'it has had no packet since');
});

function records(state: number, properties: Partial<CtEntry> = {}, before?: number): FlowRecord[] {
  const table = new Table();
  table.events();
  if (before !== undefined) {
    table.set(1, entry(before, properties));
    table.events();
  }
  table.set(1, entry(state, properties, 2));
  const [change] = table.changes();
  const snat = change!.snatIndex === 0 ? undefined : parseIp('192.0.2.1')!;
  return connectionRecords(change!, names, 5000, snat);
}

test('an external connection to a pod has its names, the service and both directions', () => {
  const [request, reply, ...more] = records(ctState.tcpEstablished);
  assert.equal(more.length, 0);
  assert.equal(formatIp(request!.destination), '10.244.1.5');
  assert.equal(formatIp(request!.frontend!), '192.0.2.1');
  assert.equal(request!.frontendPort, 30080);
  assert.deepEqual(
    [request!.destinationService?.name, reply!.sourceService?.name],
    ['cart', 'cart'],
  );
  assert.equal(request!.destinationParty.endpoint.podName, 'cart-1');
  assert.equal(request!.sourceParty.endpoint.identity, 2);
  assert.equal(request!.direction, TrafficDirection.INGRESS);
  assert.deepEqual(
    [request!.observationPoint, reply!.observationPoint],
    [TraceObservationPoint.TO_ENDPOINT, TraceObservationPoint.TO_NETWORK],
  );
  assert.deepEqual(
    [request!.traceReason, reply!.traceReason],
    [TraceReason.NEW, TraceReason.REPLY],
  );
  assert.deepEqual([request!.tcpFlags, reply!.tcpFlags], [0x02, 0x12]);
  assert.deepEqual([request!.isReply, reply!.isReply], [false, true]);
  assert.deepEqual([reply!.sourcePort, reply!.destinationPort], [8080, 40000]);
});

test('an answer alone is a reply, and an end has the flags of it', () => {
  const [reply, ...more] = records(ctState.tcpEstablished, {}, ctState.tcpSyn);
  assert.deepEqual([reply!.isReply, more.length], [true, 0]);
  const [end] = records(ctState.tcpBackendFin, {}, ctState.tcpEstablished);
  assert.deepEqual([end!.isReply, end!.tcpFlags], [false, 0x11]);
  const [reset] = records(ctState.tcpReset, {}, ctState.tcpEstablished);
  assert.equal(reset!.tcpFlags, 0x04);
});

test('a masqueraded ping of a pod has types of ICMP, its SNAT address and no service', () => {
  const pod = {
    ...{ client: parseIp('10.244.1.5')!, backendId: 0 },
    ...{
      frontend: parseIp('8.8.8.8')!,
      backend: parseIp('8.8.8.8')!,
      frontendPort: 7,
      backendPort: 7,
    },
  };
  const [request, reply] = records(ctState.icmp, {
    ...pod,
    stateWord: ((ctState.icmp << 16) | (1 << 24) | 2) >>> 0,
  });
  assert.deepEqual([request!.protocol, request!.sourcePort, request!.destinationPort], [1, 8, 0]);
  assert.equal(reply!.sourcePort, 0);
  assert.equal(formatIp(request!.sourceTranslated!), '192.0.2.1');
  assert.deepEqual([request!.frontend, request!.destinationService], [undefined, undefined]);
  assert.equal(request!.direction, TrafficDirection.EGRESS);
  const v6 = { client: parseIp('fd00:1::5')!, frontend: parseIp('2001:db8::1')! };
  const [echo] = records(ctState.icmp, { ...pod, ...v6, backend: v6.frontend });
  assert.deepEqual([echo!.protocol, echo!.sourcePort], [58, 128]);
});

test('a drop has its reason, its direction by the policy, and the names of its ends', () => {
  const drop = {
    reason: 'no allow rule matches the packet',
    ...{ ifindex: 7, protocol: 'TCP', length: 74 },
    ...{ source: '10.244.2.8', sourcePort: 1, destination: '10.244.1.5', destinationPort: 80 },
  };
  const plain = dropRecord(drop, names, 5000);
  assert.equal(plain.direction, TrafficDirection.INGRESS);
  assert.equal(plain.sourceParty.endpoint.labels[0], 'reserved:unmanaged');
  assert.equal(plain.destinationParty.endpoint.namespace, 'shop');
  assert.equal(names.interfaceName(plain.interfaceIndex), 'hd12');
  const denied = dropRecord({ ...drop, policy: { direction: 'egress', rule: 1 } }, names, 5000);
  assert.equal(denied.direction, TrafficDirection.EGRESS);
  assert.equal(dropRecord({ ...drop, protocol: 'protocol 47' }, names, 0).protocol, 47);
  const ttl = { ...drop, reason: 'the TTL or hop limit is exceeded' };
  assert.equal(dropRecord(ttl, names, 0).dropReason, 196);
});

test('a burst is passed on up to a limit, and what is beyond is counted', () => {
  const record = flowRecord();
  const two = () => [record, record];
  for (const [changes, max, passed, left] of [
    [0, 4, 0, 0],
    [2, 4, 4, 0],
    [3, 4, 4, 1],
    [5, 3, 4, 3],
  ] as const) {
    let count = 0;
    const lost = passRecords(Array(changes).fill(0), two, () => count++, max);
    assert.deepEqual([count, lost], [passed, left]);
  }
});
