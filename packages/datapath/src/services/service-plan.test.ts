import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Backend, ServiceRow } from '@heddle/services';
import fc from 'fast-check';
import { someRow } from '../../testing/rows.ts';
import { NoRoom } from '../core/keyed-map.ts';
import { endpointText } from './backend-table.ts';
import { Extents, graceNs } from './extents.ts';
import {
  type Entry,
  frontendChanges,
  type Plan,
  type PlanContext,
  type Programmed,
  planService,
} from './service-plan.ts';

const backendCapacity = 12;
const slotCapacity = 16;

/** Programmed rows in memory: what a plan is made from, and what becomes of it. */
class ProgrammedRows {
  readonly rows = new Map<string, Programmed>();
  readonly entries = new Map<string, Entry>();
  readonly backends = new Map<number, Backend & { readonly endpoint: string }>();
  readonly slots: number[] = [];
  readonly ids: Extents;
  readonly ranges: Extents;
  #nowNs = 0n;
  #nextService = 1;

  constructor() {
    const now = () => this.#nowNs;
    this.ids = new Extents(backendCapacity + 1, now);
    this.ids.reserve(0, 1);
    this.ranges = new Extents(slotCapacity, now);
  }

  readonly context: PlanContext = {
    allocateService: () => this.#nextService++,
    allocateBackend: () => this.ids.allocate(1),
    releaseBackend: (id) => this.ids.release(id, 1),
    allocateSlots: (count) => this.ranges.allocate(count),
    backendCapacity,
    slotCapacity,
    endpoint: (id) => this.backends.get(id)!.endpoint,
    backend: (id) => this.backends.get(id)!,
    isUpToDate: (id, { state, weight }) => {
      const known = this.backends.get(id)!;
      return known.state === state && known.weight === weight;
    },
    hasSlots: (first, ids) => ids.every((id, i) => this.slots[first + i] === id),
    serviceAt: (key) => this.entries.get(key)?.id,
    keepsInherited: () => false,
  };

  plan(row: ServiceRow): Plan {
    return planService(row, this.rows.get(row.key), this.context);
  }

  /** Applies a plan as the writer does. */
  commit(plan: Plan): void {
    const { row, before, entry } = plan;
    for (const { id, backend } of [...plan.newBackends, ...plan.changedBackends]) {
      const endpoint = endpointText(backend.address, backend.port, row.protocol);
      this.backends.set(id, { ...backend, endpoint });
    }
    for (const [i, id] of plan.slots?.entries() ?? []) this.slots[entry.firstSlot + i] = id;
    const { added, changed } = frontendChanges([plan], this.entries, 0);
    for (const each of [...added, ...changed]) this.entries.set(each.key, each.entry);
    this.rows.set(row.key, plan);
    if (before) this.#release(before, plan);
  }

  /** Releases what a plan that is not written has allocated. */
  rollBack({ entry, newBackends, slots }: Plan): void {
    if (slots) this.ranges.release(entry.firstSlot, entry.slotCount);
    for (const { id } of newBackends) this.ids.release(id, 1);
  }

  remove(key: string): void {
    const programmed = this.rows.get(key);
    this.rows.delete(key);
    if (programmed) this.#release(programmed, undefined);
  }

  #release(before: Programmed, plan: Plan | undefined): void {
    for (const key of before.frontends)
      if (!plan?.frontends.includes(key)) this.entries.delete(key);
    if (!plan || plan.slots) this.ranges.release(before.entry.firstSlot, before.entry.slotCount);
    for (const id of before.backendIds) {
      if (plan?.backendIds.includes(id)) continue;
      this.ids.release(id, 1);
      this.backends.delete(id);
    }
  }

  /** Lets released numbers become free. */
  pass(): void {
    this.#nowNs += graceNs;
  }
}

/** Checks that a plan takes nothing that a programmed row has, and that its slots have its active backends. */
function checkPlan(plan: Plan, { rows }: ProgrammedRows): void {
  const { entry, slots, newBackends, backendIds, row } = plan;
  const taken = new Set([...rows.values()].flatMap((other) => other.backendIds));
  for (const { id } of newBackends) {
    assert.ok(id > 0 && !taken.has(id), `backend ${id} is taken`);
    taken.add(id);
  }
  assert.equal(new Set(backendIds).size, row.backends.length);
  for (const [key, other] of rows) {
    if (key === row.key && !slots) continue;
    assert.ok(key === row.key || other.entry.id !== entry.id, 'another row has the service id');
    const isApart =
      entry.slotCount === 0 ||
      other.entry.slotCount === 0 ||
      entry.firstSlot >= other.entry.firstSlot + other.entry.slotCount ||
      other.entry.firstSlot >= entry.firstSlot + entry.slotCount;
    assert.ok(isApart, `${row.key} shares slots with ${key}`);
  }
  assert.ok(entry.firstSlot + entry.slotCount <= slotCapacity);
  if (!slots) return;
  const active = backendIds.filter((_, i) => row.backends[i]!.state === 'active');
  assert.deepEqual(new Set(slots), new Set(active));
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('program' as const), row: someRow() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('fail' as const), row: someRow() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove' as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const) }) },
);

describe('planService', () => {
  it('allocates only free ids and slots, and a plan that fails releases them', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const state = new ProgrammedRows();
        for (const each of steps) {
          const [ids, slots] = [state.ids.used, state.ranges.used];
          if (each.do === 'pass') state.pass();
          else if (each.do === 'remove') state.remove([...state.rows.keys()][each.pick % 5] ?? '');
          else {
            let plan: Plan;
            try {
              plan = state.plan(each.row);
            } catch (error) {
              assert.ok(error instanceof NoRoom, `${error}`);
              assert.deepEqual([state.ids.used, state.ranges.used], [ids, slots]);
              continue;
            }
            checkPlan(plan, state);
            if (each.do === 'program') state.commit(plan);
            else {
              state.rollBack(plan);
              assert.deepEqual([state.ids.used, state.ranges.used], [ids, slots]);
            }
          }
        }
        for (const key of [...state.rows.keys()]) state.remove(key);
        state.pass();
        assert.equal(state.ranges.allocate(slotCapacity), 0, 'all slots can be allocated again');
        assert.equal(state.ids.allocate(backendCapacity), 1, 'all ids can be allocated again');
      }),
      { numRuns: 300 },
    );
  });

  it('changes nothing when a row is programmed already', () => {
    fc.assert(
      fc.property(someRow(), (row) => {
        const state = new ProgrammedRows();
        state.commit(state.plan(row));
        const again = state.plan(row);
        assert.deepEqual(
          [again.newBackends, again.changedBackends, again.slots],
          [[], [], undefined],
        );
        const none = { added: [], changed: [] };
        assert.deepEqual(frontendChanges([again], state.entries, 0), none);
      }),
      { numRuns: 100 },
    );
  });
});
