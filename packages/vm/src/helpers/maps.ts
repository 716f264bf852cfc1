import { errno } from '@heddle/sys';
import type { Helper, Machine } from '../machine.ts';
import { VmMap } from '../maps/map.ts';
import { RingBufferMap } from '../maps/ring-buffer.ts';
import { ValueMap } from '../maps/value-map.ts';

/** Returns the map that a register points to. */
function mapIn(machine: Machine, register: number): VmMap {
  const owner = machine.memory.owner(machine.registers[2 * register + 1]!);
  if (owner?.kind === 'map' && owner.map instanceof VmMap) return owner.map;
  return machine.refuse(`r${register} is no map`);
}

function ringIn(machine: Machine, register: number): RingBufferMap {
  const map = mapIn(machine, register);
  return map instanceof RingBufferMap
    ? map
    : machine.refuse(`map ${map.options.name} is no ring buffer`);
}

/** Returns the low 32 bits of a register. */
const low = (machine: Machine, register: number) => machine.registers[2 * register]! >>> 0;

/** Returns flags whose upper half must be 0. */
function flagsIn(machine: Machine, register: number): number {
  return machine.registers[2 * register + 1] === 0 ? low(machine, register) : -1;
}

/** Returns the view of the key in r2. The low word of r2 is its offset. */
function keyIn(machine: Machine, map: VmMap): DataView {
  return machine.argumentView(2, map.options.keySize);
}

const lookup: Helper = (machine) => {
  const map = mapIn(machine, 1);
  machine.answerPointer(map.find(keyIn(machine, map), low(machine, 2)));
};

const update: Helper = (machine) => {
  const map = mapIn(machine, 1);
  const key = keyIn(machine, map);
  const value = machine.argumentView(3, map.options.valueSize);
  machine.answer(map.store(key, low(machine, 2), value, low(machine, 3), flagsIn(machine, 4)));
};

const remove: Helper = (machine) => {
  const map = mapIn(machine, 1);
  machine.answer(map.remove(keyIn(machine, map), low(machine, 2)));
};

const lookupOnCpu: Helper = (machine) => {
  const map = mapIn(machine, 1);
  if (!(map instanceof ValueMap)) return machine.refuse('no map of values');
  machine.answerPointer(map.findOn(low(machine, 3), keyIn(machine, map), low(machine, 2)));
};

/** Returns the slot of the function that a register points to. It must be of the running program. */
function functionIn(machine: Machine, register: number): number {
  const owner = machine.memory.owner(machine.registers[2 * register + 1]!);
  if (owner?.kind === 'code' && owner.program === machine.program) return low(machine, register);
  return machine.refuse(`r${register} is no function of the program`);
}

const forEach: Helper = (machine) => {
  const map = mapIn(machine, 1);
  const callback = functionIn(machine, 2);
  const R = machine.registers;
  const [context, contextHigh] = [R[6]!, R[7]!];
  if (R[8] !== 0 || R[9] !== 0) return machine.answer(-errno.EINVAL);
  if (!map.walk || !map.elementRegions) return machine.refuse('no map that can be walked');
  let visited = 0;
  map.walk((slot) => {
    const { key, value } = map.elementRegions!(slot);
    R[2] = 0;
    R[3] = map.region;
    R[4] = 0;
    R[5] = key;
    R[6] = 0;
    R[7] = value;
    R[8] = context;
    R[9] = contextHigh;
    machine.callback(callback);
    visited++;
    return (R[0]! | R[1]!) !== 0;
  });
  machine.answer(visited);
};

/** BPF_MAX_LOOPS. */
const MAX_LOOPS = 8 << 20;

const loop: Helper = (machine) => {
  const R = machine.registers;
  const times = low(machine, 1);
  const callback = functionIn(machine, 2);
  const [context, contextHigh] = [R[6]!, R[7]!];
  if (R[8] !== 0 || R[9] !== 0) return machine.answer(-errno.EINVAL);
  if (times > MAX_LOOPS) return machine.answer(-errno.E2BIG);
  let done = 0;
  while (done < times) {
    R[2] = done++;
    R[3] = 0;
    R[4] = context;
    R[5] = contextHigh;
    machine.callback(callback);
    if ((R[0]! | R[1]!) !== 0) break;
  }
  machine.answer(done);
};

const ringOutput: Helper = (machine) => {
  const ring = ringIn(machine, 1);
  machine.answer(ring.output(machine.argumentBytes(2, low(machine, 3)), low(machine, 4)));
};

const ringReserve: Helper = (machine) => {
  machine.answerPointer(ringIn(machine, 1).reserve(low(machine, 2)));
};

/** Returns the ring buffer of the record in r1. */
function finishRecord(machine: Machine, discard: boolean): void {
  const region = machine.registers[3]!;
  for (const map of machine.program.maps) {
    if (map instanceof RingBufferMap && map.owns(region)) {
      map.finish(region, low(machine, 2), discard);
      return;
    }
  }
  machine.refuse('r1 is no record that was reserved');
}

const ringQuery: Helper = (machine) => {
  machine.answer(ringIn(machine, 1).query(low(machine, 2)));
};

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const mapHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  1: ['map_lookup_elem', lookup],
  2: ['map_update_elem', update],
  3: ['map_delete_elem', remove],
  130: ['ringbuf_output', ringOutput],
  131: ['ringbuf_reserve', ringReserve],
  132: ['ringbuf_submit', (machine) => finishRecord(machine, false)],
  133: ['ringbuf_discard', (machine) => finishRecord(machine, true)],
  134: ['ringbuf_query', ringQuery],
  164: ['for_each_map_elem', forEach],
  181: ['loop', loop],
  195: ['map_lookup_percpu_elem', lookupOnCpu],
};
