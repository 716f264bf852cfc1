import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Tier } from '@heddle/policy';
import fc from 'fast-check';
import { type Packet, PolicyMaps, type PolicySizes } from '../../testing/policy-maps.ts';
import {
  judgeNaively,
  PolicyWorld,
  type WorldPolicy,
  type WorldRule,
  type WorldState,
} from '../../testing/policy-world.ts';
import type { PolicyTables } from './policy-tables.ts';

const { process } = globalThis;
/** HEDDLE_MODEL_SEED sets another one. QuickJS has no process. */
const seed = process ? Number(process.env.HEDDLE_MODEL_SEED ?? 1) : 1;
/** QuickJS takes twenty times as long for each run, so it gets a quarter of the runs. */
const share = process ? 1 : 0.25;

const pods = ['a/one', 'a/two', 'b/three'];
const podAddress = (pod: string) => `10.9.0.${pods.indexOf(pod) + 1}`;
const addresses = [
  '10.0.0.1',
  '10.0.0.2',
  '10.0.1.1',
  '10.1.0.1',
  '192.0.2.1',
  'fd00::1',
  'fd00::2',
];
const ranges = ['10.0.0.0/8', '10.0.0.0/24', '10.0.0.2/32', '0.0.0.0/0', '::/0', 'fd00::/64'];
const labels = ['x', 'y', 'z'];
const ports = [1, 53, 80, 81, 100, 443, 65535];

const portRange = fc.record({
  protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
  span: fc.constantFrom(
    [80, 80],
    [53, 53],
    [80, 100],
    [1, 65535],
    [0, 65535],
    [443, 65535],
    [2, 81],
  ),
});

const ruleOf = (tier: Tier): fc.Arbitrary<WorldRule> =>
  fc.record({
    direction: fc.constantFrom('egress' as const, 'ingress' as const),
    action:
      tier === 'Admin'
        ? fc.constantFrom('allow' as const, 'deny' as const, 'pass' as const)
        : tier === 'Baseline'
          ? fc.constantFrom('allow' as const, 'deny' as const)
          : fc.constant('allow' as const),
    peers: fc.option(
      fc.uniqueArray(
        fc.oneof(fc.constantFrom(...ranges), fc.constantFrom(...labels.map((l) => `label:${l}`))),
        { maxLength: 3 },
      ),
      { nil: undefined },
    ),
    ports: fc.option(
      fc.array(portRange, { maxLength: 3 }).map((all) =>
        all.map(({ protocol, span: [first, last] }) => ({
          ...{ protocol, first: first!, last: last! },
        })),
      ),
      { nil: undefined },
    ),
  });

/** A change of the world. */
type Step =
  | { readonly kind: 'set'; readonly policy: WorldPolicy }
  | { readonly kind: 'remove'; readonly index: number }
  | { readonly kind: 'label'; readonly label: string; readonly addresses: readonly string[] }
  | { readonly kind: 'pass'; readonly milliseconds: number };

const policy = fc
  .constantFrom<Tier>('Admin', 'NetworkPolicy', 'NetworkPolicy', 'Baseline')
  .chain((tier) =>
    fc.record({
      key: fc.nat(2).map((n) => `${tier} p${n}`),
      tier: fc.constant(tier),
      priority: tier === 'NetworkPolicy' ? fc.constant(0) : fc.nat(3),
      pods: fc.subarray(pods, { minLength: 1 }),
      rules: fc.array(ruleOf(tier), { maxLength: 4 }),
    }),
  );

const label = fc.record({
  label: fc.constantFrom(...labels),
  addresses: fc.subarray(addresses),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: policy.map((policy) => ({ kind: 'set' as const, policy })) },
  { weight: 2, arbitrary: fc.nat(9).map((index) => ({ kind: 'remove' as const, index })) },
  { weight: 3, arbitrary: label.map((each) => ({ kind: 'label' as const, ...each })) },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom(1, 50, 150)
      .map((milliseconds) => ({ kind: 'pass' as const, milliseconds })),
  },
);

const empty: WorldState = { policies: [], labels: new Map() };

function after(state: WorldState, change: Step): WorldState {
  if (change.kind === 'set') {
    const others = state.policies.filter(({ key }) => key !== change.policy.key);
    return { ...state, policies: [...others, change.policy] };
  }
  if (change.kind === 'remove') {
    return { ...state, policies: state.policies.filter((_, i) => i !== change.index) };
  }
  if (change.kind === 'pass') return state;
  return { ...state, labels: new Map([...state.labels, [change.label, change.addresses]]) };
}

const packets: Packet[] = pods.flatMap((pod) =>
  (['egress', 'ingress'] as const).flatMap((direction) =>
    addresses.flatMap((peer) =>
      (['TCP', 'UDP', 'ICMP'] as const).flatMap((protocol) =>
        (protocol === 'ICMP' ? [0] : ports).map((port) => ({
          ...{ pod, direction, peer, protocol, port },
        })),
      ),
    ),
  ),
);
const inMaps = (packet: Packet): Packet => ({ ...packet, pod: podAddress(packet.pod) });
const text = (packet: Packet) => JSON.stringify(packet);

/** The control plane over maps in memory, with a world that changes. */
class Bench {
  readonly maps: PolicyMaps;
  readonly world = new PolicyWorld(pods);
  state = empty;
  tables: PolicyTables;

  constructor(sizes?: PolicySizes) {
    this.maps = new PolicyMaps(sizes);
    for (const [i, pod] of pods.entries()) this.maps.addPod(10 + i, podAddress(pod));
    this.tables = this.#open();
    this.tables.setComplete();
    this.tables.take(this.world.update(this.state));
    this.tables.program();
  }

  #open(): PolicyTables {
    const tables = this.maps.open();
    for (const pod of pods) tables.attach({ pod, uid: '' }, [podAddress(pod)]);
    tables.activate();
    return tables;
  }

  /** Makes a change; `onWrite` is called after each write. */
  change(step: Step, onWrite: (next: WorldState) => void = () => {}): void {
    const next = after(this.state, step);
    this.maps.onWrite = () => onWrite(next);
    if (step.kind === 'pass') this.maps.pass(step.milliseconds);
    else {
      this.tables.take(this.world.update(next));
      this.tables.program();
    }
    this.maps.onWrite = () => {};
    this.state = next;
  }

  /** Starts the control plane again, with a model that knows everything at once. */
  restart(onWrite: () => void): void {
    this.tables.release();
    this.maps.onWrite = onWrite;
    this.tables = this.#open();
    this.tables.take(new PolicyWorld(pods).update(this.state));
    this.tables.setComplete();
    this.tables.program();
    this.maps.pass(300);
    this.maps.onWrite = () => {};
    // The world goes on from the same objects.
    Object.assign(this, { world: new PolicyWorld(pods) });
    this.tables.release();
    this.tables = this.#open();
    this.tables.take(this.world.update(this.state));
    this.tables.setComplete();
    this.tables.program();
  }

  check(): void {
    for (const packet of packets) {
      const expected = judgeNaively(this.state, packet);
      assert.equal(this.maps.judge(inMaps(packet)), expected, text(packet));
    }
  }
}

test('after each change the maps give the verdicts of the policies themselves', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const bench = new Bench();
      for (const each of steps) {
        bench.change(each);
        bench.check();
      }
    }),
    { numRuns: 40 * share, seed },
  );
});

test('at each moment of a change a packet has the verdict before it or the one after', () => {
  let checked = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 12 }),
      fc.infiniteStream(fc.nat(packets.length - 1)),
      (steps, stream) => {
        const bench = new Bench();
        for (const each of steps) {
          const before = bench.state;
          bench.change(each, (next) => {
            for (let i = 0; i < 4; i++) {
              const packet = packets[stream.next().value]!;
              const verdict = bench.maps.judge(inMaps(packet));
              const wanted = [judgeNaively(before, packet), judgeNaively(next, packet)];
              assert.ok(wanted.includes(verdict), `${verdict} ${text(packet)}`);
              checked++;
            }
          });
        }
      },
    ),
    { numRuns: 120 * share, seed },
  );
  assert.ok(checked > 1000 * share, `${checked} packets in the middle of a change`);
});

test('a program that has read a subject up to 90 ms ago gives a verdict of the time since then', () => {
  let old = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 2, maxLength: 12 }),
      fc.infiniteStream(fc.nat(packets.length - 1)),
      fc.infiniteStream(fc.constantFrom(0, 5, 30)),
      (steps, stream, pauses) => {
        const bench = new Bench();
        const started: Started[] = [];
        for (const each of steps) {
          for (let i = 0; i < 20; i++) {
            const packet = packets[stream.next().value]!;
            const subject = bench.maps.subjectOf(inMaps(packet));
            started.push({ packet, subject, sinceNs: bench.maps.now, states: [bench.state] });
          }
          bench.change(each);
          for (const { states } of started) states.push(bench.state);
          bench.change({ kind: 'pass', milliseconds: pauses.next().value });
          for (const { packet, subject, sinceNs, states } of started) {
            if (bench.maps.now - sinceNs > 90_000_000n) continue;
            const verdict = bench.maps.judgeAs(subject, inMaps(packet));
            const wanted = verdictsOf(states, packet);
            assert.ok(wanted.has(verdict), `${verdict} ${text(packet)}`);
            if (subject !== bench.maps.subjectOf(inMaps(packet))) old++;
          }
        }
      },
    ),
    { numRuns: 60 * share, seed },
  );
  assert.ok(old > 1000 * share, `${old} verdicts by an old subject`);
});

/** A packet whose program has read its subject. */
interface Started {
  readonly packet: Packet;
  readonly subject: number;
  readonly sinceNs: bigint;
  /** The states since then. */
  readonly states: WorldState[];
}

/** Returns the verdicts of any policies with any labels that there were. */
function verdictsOf(states: readonly WorldState[], packet: Packet): Set<string> {
  const verdicts = new Set<string>();
  for (const { policies } of new Set(states)) {
    for (const each of new Set(states)) {
      verdicts.add(judgeNaively({ policies, labels: each.labels }, packet));
    }
  }
  return verdicts;
}

test('a restart of the control plane changes no verdict at any moment', () => {
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 8 }),
      fc.array(step, { maxLength: 3 }),
      fc.infiniteStream(fc.nat(packets.length - 1)),
      (steps, more, stream) => {
        const bench = new Bench();
        for (const each of steps) bench.change(each);
        bench.restart(() => {
          for (let i = 0; i < 4; i++) {
            const packet = packets[stream.next().value]!;
            assert.equal(
              bench.maps.judge(inMaps(packet)),
              judgeNaively(bench.state, packet),
              text(packet),
            );
          }
        });
        for (const each of more) {
          bench.change(each);
          bench.check();
        }
      },
    ),
    { numRuns: 40 * share, seed },
  );
});

test('an agent that is killed at any write leaves each packet a verdict of before or after, and so does the next one', () => {
  let killed = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 8 }),
      step,
      // Most changes take few writes.
      fc.oneof(fc.nat(6), fc.nat(60)),
      fc.infiniteStream(fc.nat(packets.length - 1)),
      (steps, last, count, stream) => {
        const bench = new Bench();
        for (const each of steps) bench.change(each);
        const before = bench.state;
        const next = after(before, last);
        let left = count;
        try {
          bench.change(last, () => {
            if (left-- === 0) throw new Killed();
          });
        } catch (error) {
          if (!(error instanceof Killed)) throw error;
          killed++;
        }
        bench.state = next;
        const check = () => {
          for (let i = 0; i < 4; i++) {
            const packet = packets[stream.next().value]!;
            const verdict = bench.maps.judge(inMaps(packet));
            const wanted = [judgeNaively(before, packet), judgeNaively(next, packet)];
            assert.ok(wanted.includes(verdict), `${verdict} ${text(packet)}`);
          }
        };
        bench.maps.onWrite = check;
        for (let i = 0; i < 20; i++) check();
        bench.restart(check);
        bench.check();
      },
    ),
    // The first changes take few writes, so no agent would be killed in a share of the runs.
    { numRuns: 60, seed },
  );
  assert.ok(killed > 2, `${killed} agents were killed in the middle of a change`);
});

class Killed extends Error {}

test('the rules of pods that were removed while no agent ran are released', () => {
  const bench = new Bench();
  bench.change({ kind: 'set', policy: simple });
  bench.tables.release();
  bench.tables = bench.maps.open();
  bench.tables.setComplete();
  bench.tables.activate();
  bench.maps.pass(300);
  assert.deepEqual([bench.tables.sizes.policy_rules, bench.tables.sizes.policy_subjects], [0, 0]);
  assert.deepEqual(bench.maps.pods.policyOf(podAddress('a/one')), { egress: 0, ingress: 0 });
});

test('where maps are too small, no packet passes that the policies deny, and all is well once there is room', () => {
  let failures = 0;
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 1, maxLength: 12 }),
      fc.record({
        subjects: fc.constantFrom(3, 5, 64),
        peers: fc.constantFrom(2, 5, 256),
        ranges: fc.constantFrom(2, 4, 64),
        peerClasses: fc.constantFrom(2, 4, 128),
        portClasses: fc.constantFrom(5, 7, 128),
      }),
      (steps, sizes) => {
        const bench = new Bench(sizes);
        for (const each of steps) {
          bench.change(each);
          for (const packet of packets) {
            const expected = judgeNaively(bench.state, packet);
            const verdict = bench.maps.judge(inMaps(packet));
            if (verdict !== expected) {
              failures++;
              assert.equal(verdict, 'deny', text(packet));
            }
          }
          const closed = bench.state.policies.filter(({ key }) => bench.tables.problemOf(key));
          for (const { key } of closed) {
            assert.match(
              bench.tables.problemOf(key)!,
              /^write map policy|^write map p.*_vectors|^wait/,
            );
          }
        }
        while (bench.state.policies.length > 0) bench.change({ kind: 'remove', index: 0 });
        bench.change({ kind: 'set', policy: simple });
        for (let i = 0; i < 5; i++) {
          bench.change({ kind: 'pass', milliseconds: 200 });
          bench.tables.retry();
        }
        assert.equal(bench.tables.problemOf(simple.key), undefined);
        bench.check();
      },
    ),
    { numRuns: 60 * share, seed },
  );
  assert.ok(failures > 100 * share, `${failures} packets were dropped for want of room`);
});

const simple: WorldPolicy = {
  ...{ key: 'NetworkPolicy simple', tier: 'NetworkPolicy', priority: 0, pods: ['a/one'] },
  rules: [{ direction: 'ingress', action: 'allow', peers: ['10.0.0.0/24'], ports: undefined }],
};
