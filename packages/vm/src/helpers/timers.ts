import { errno } from '@heddle/sys';
import type { Helper, Machine } from '../machine.ts';
import { VmMap } from '../maps/map.ts';

/** Returns the region and offset of a struct bpf_timer. */
function placeIn(machine: Machine): { region: number; offset: number } {
  const region = machine.registers[3]!;
  const owner = machine.memory.owner(region);
  if (owner?.kind !== 'map-value') return machine.refuse('r1 is no timer in the value of a map');
  return { region, offset: machine.registers[2]! >>> 0 };
}

const init: Helper = (machine) => {
  const { region, offset } = placeIn(machine);
  const owner = machine.memory.owner(machine.registers[5]!);
  const map = owner?.kind === 'map' ? owner.map : undefined;
  if (!(map instanceof VmMap)) return machine.refuse('r2 is no map');
  machine.answer(machine.timers.init(region, offset, map) ? 0 : -errno.EBUSY);
};

const setCallback: Helper = (machine) => {
  const { region, offset } = placeIn(machine);
  const owner = machine.memory.owner(machine.registers[5]!);
  if (owner?.kind !== 'code' || owner.program !== machine.program) {
    return machine.refuse('r2 is no function of the program');
  }
  const { program } = machine;
  const slot = machine.registers[4]!;
  const known = machine.timers.setCallback(
    region,
    offset,
    (map, value) => machine.fireTimer(program, slot, map, value),
    program.object,
  );
  machine.answer(known ? 0 : -errno.EINVAL);
};

const start: Helper = (machine) => {
  const { region, offset } = placeIn(machine);
  const [low, high, flags] = [machine.registers[4]!, machine.registers[5]!, machine.registers[6]!];
  const after = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  if (flags & ~1) return machine.answer(-errno.EINVAL);
  // BPF_F_TIMER_ABS: the time and not a duration.
  const due = flags & 1 ? after : machine.now() + after;
  machine.answer(machine.timers.start(region, offset, due) ? 0 : -errno.EINVAL);
};

const cancel: Helper = (machine) => {
  const { region, offset } = placeIn(machine);
  const was = machine.timers.cancel(region, offset);
  machine.answer(was === undefined ? -errno.EINVAL : was ? 1 : 0);
};

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const timerHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  169: ['timer_init', init],
  170: ['timer_set_callback', setCallback],
  171: ['timer_start', start],
  172: ['timer_cancel', cancel],
};
