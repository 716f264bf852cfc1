import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CtEntry,
  ctEntrySize,
  ctFactsSize,
  ctState,
  encodeCtEntry,
  encodeCtFacts,
} from '@heddle/datapath/abi';
import { formatIp, parseIp } from '@heddle/sys';
import fc from 'fast-check';
import type { FlowRecord } from '../flows/record.ts';
import { TraceObservationPoint, TraceReason, TrafficDirection } from '../generated/flow/flow_pb.js';
import { AgentNames } from './agent-names.ts';
import { dropRecord, passRecords } from './records.ts';
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

const unasked = { frontend: new Uint8Array(16), frontendPort: 0, reserved: 0, checked: 0 };

/** A table, of four entries unless said otherwise, and a sweep over it. */
class Table {
  readonly bytes: Uint8Array;
  readonly facts: Uint8Array;
  readonly #sweep: ConnectionSweep;
  readonly #last: number;
  /** The changes that the last sweep has left out. */
  left = 0;

  constructor(entries = 4) {
    this.bytes = new Uint8Array((entries + 1) * ctEntrySize);
    this.facts = new Uint8Array((entries + 1) * ctFactsSize);
    this.#sweep = new ConnectionSweep(entries + 1);
    this.#last = entries;
  }

  set(number: number, value: CtEntry): void {
    encodeCtEntry(value, this.bytes, number * ctEntrySize);
  }

  count(number: number, packets: readonly bigint[], bytes: readonly bigint[]): void {
    const value = { packets: [...packets], bytes: [...bytes], created: 1n, ...unasked };
    encodeCtFacts(value, this.facts, number * ctFactsSize);
  }

  /** Notes the service that the socket of an entry has asked for. */
  ask(number: number, address: string, port: number): void {
    const counts = { packets: [1n, 1n], bytes: [100n, 100n], created: 1n };
    const asked = { frontend: parseIp(address)!, frontendPort: port, reserved: 0, checked: 1 };
    encodeCtFacts({ ...counts, ...asked }, this.facts, number * ctFactsSize);
  }

  /** Passes on the changes. */
  sweep(report: (change: ConnectionChange) => void, now = 100, most = 1000): void {
    const table = { flows: this.bytes, facts: this.facts, highWater: this.#last };
    this.left = this.#sweep.sweep(table, now, most, report);
  }

  changes(now = 100, most = 1000): ConnectionChange[] {
    const changes: ConnectionChange[] = [];
    this.sweep(
      (change) => {
        const { client, frontend, backend } = change.entry;
        const own = {
          client: client.slice(),
          frontend: frontend.slice(),
          backend: backend.slice(),
        };
        changes.push({ ...change, entry: { ...change.entry, ...own } });
      },
      ...[now, most],
    );
    return changes;
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
  return recordsOf(change!);
}

function recordsOf(change: ConnectionChange): FlowRecord[] {
  const snat = change.snatIndex === 0 ? undefined : parseIp('192.0.2.1')!;
  const passed: FlowRecord[] = [];
  passRecords(change, names, 5000, snat, undefined, (record) => passed.push(record));
  return passed;
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

test('a burst is sampled evenly, and what is left out is counted', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 70 }), (found, most) => {
      const table = new Table(60);
      table.events();
      for (let i = 1; i <= found; i++) table.set(i, entry(ctState.udp, { clientPort: i }));
      const ports = table.changes(101, most).map((change) => change.entry.clientPort);
      assert.equal(ports.length, Math.min(found, most));
      assert.equal(table.left, found - ports.length);
      const widest = Math.max(1, Math.ceil(found / most));
      for (const [i, port] of [...ports, found + 1].entries()) {
        assert.ok(port - (ports[i - 1] ?? 0) <= widest, `${ports} of ${found}`);
      }
      assert.deepEqual(table.changes(102), [], 'none is reported later');
    }),
  );
});

test('the amounts of all reports of a connection are what was counted', () => {
  const step = fc.record({
    state: fc.constantFrom(ctState.tcpSyn, ctState.tcpEstablished, ctState.tcpClientFin),
    packets: fc.tuple(fc.nat(5), fc.nat(5)),
    seconds: fc.constantFrom(1, 30, 61),
    isOther: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const table = new Table();
      table.events();
      let [now, port] = [100, 1];
      // Counters above 32 bits, as of large transfers.
      let total = [0n, 0n];
      let reported = [0, 0];
      for (const { state, packets, seconds, isOther } of steps) {
        if (isOther) {
          port++;
          total = [0n, 0n];
          reported = [0, 0];
        }
        now += seconds;
        total = total.map((sum, side) => sum + BigInt(packets[side]!));
        table.set(1, entry(state, { clientPort: port }, now));
        table.count(
          1,
          total,
          total.map((sum) => sum * 2_000_000_000n),
        );
        for (const change of table.changes(now)) {
          if (change.isNew) reported = [0, 0];
          const records = recordsOf(change);
          for (const side of [0, 1]) {
            const own = records.filter(({ isReply }) => isReply === (side === 1));
            const sum = own.reduce((all, record) => all + record.packets, 0);
            assert.equal(
              sum * 2_000_000_000,
              own.reduce((all, { bytes }) => all + bytes, 0),
            );
            assert.equal(sum, change.sent[side]!.packets, 'no amount is without a flow');
            reported[side]! += sum;
          }
          if (!change.isNew) {
            assert.ok(reported.every((sum, side) => sum <= Number(total[side])));
          } else {
            assert.deepEqual(reported, total.map(Number));
          }
        }
      }
    }),
  );
});

test('what an observer that starts has missed is in no amount', () => {
  const table = new Table();
  table.set(1, entry(ctState.tcpEstablished));
  table.count(1, [100n, 200n], [1000n, 2000n]);
  assert.deepEqual(
    table.changes(100).map(({ sent }) => sent.map(({ packets }) => packets)),
    [[0, 0]],
  );
  table.set(1, entry(ctState.tcpClientFin, {}, 2));
  table.count(1, [103n, 204n], [1300n, 2400n]);
  const [change] = table.changes(101);
  assert.deepEqual(change!.sent, [
    { packets: 3, bytes: 300 },
    { packets: 4, bytes: 400 },
  ]);
  const [request, reply] = recordsOf(change!);
  assert.deepEqual([request!.bytes, reply!.bytes], [300, 400]);
  assert.deepEqual([request!.tcpFlags, reply!.tcpFlags], [0x11, 0x11]);
});

test('a connection that a socket has translated has the service that it asked for', () => {
  const table = new Table();
  table.events();
  const own = { client: parseIp('10.244.1.5')!, backend: parseIp('10.244.2.9')!, backendId: 0 };
  const direct = { ...own, frontend: own.backend, frontendPort: 8080, sourcePort: 40000 };
  table.set(1, entry(ctState.tcpEstablished, direct));
  table.ask(1, '192.0.2.1', 30080);
  table.set(2, entry(ctState.tcpEstablished, { ...direct, clientPort: 7 }));
  table.count(2, [1n, 1n], [100n, 100n]);
  const found: (readonly [string | undefined, number, string | undefined])[] = [];
  table.sweep((change) => {
    for (const { frontend, frontendPort, destinationService } of recordsOf(change)) {
      const address = frontend && formatIp(frontend);
      found.push([address, frontendPort, destinationService?.name]);
    }
  });
  assert.deepEqual(found, [
    ['192.0.2.1', 30080, 'cart'],
    ['192.0.2.1', 30080, undefined],
    ...[0, 1].map(() => [undefined, 0, undefined]),
  ]);
});
