import { BtfKind, type BtfKindName, btfKindNames } from '@heddle/ebpf/internal';
import { decodeCString, errno } from '@heddle/sys';
import type { Helper } from '../machine.ts';

const zero: Helper = (machine) => machine.answer(0);
const now: Helper = (machine) => machine.answerBig(machine.now());

/** A tick of the coarse clock: 4 ms, as with CONFIG_HZ=250. */
const TICK = 4_000_000n;

const coarse: Helper = (machine) => {
  const time = machine.now();
  machine.answerBig(time - (time % TICK));
};

const random: Helper = (machine) => {
  machine.registers[0] = machine.random();
  machine.registers[1] = 0;
};

/** bpf_set_retval. The next program of a cgroup sees the value. */
const setReturnValue: Helper = (machine) => {
  const value = machine.registers[2]!;
  if (value > 0 || value < -4095) return machine.answer(-errno.EINVAL);
  machine.returnValue = value;
  machine.answer(0);
};

/** The context of an iterator, to which bpf_seq_write writes. */
export interface Sink {
  readonly write: (bytes: Uint8Array) => void;
}

const sequenceWrite: Helper = (machine) => {
  const owner = machine.memory.owner(machine.registers[3]!);
  const sink = owner?.kind === 'kernel' ? (owner.object as Partial<Sink> | undefined) : undefined;
  if (!sink?.write) return machine.refuse('r1 is no seq_file');
  sink.write(machine.argumentBytes(2, machine.registers[6]! >>> 0).slice());
  machine.answer(0);
};

/** Reads memory of the kernel. Unreadable memory becomes zeros, as in bpf_probe_read_kernel_common. */
const readKernel: Helper = (machine) => {
  const R = machine.registers;
  const into = machine.argumentBytes(1, R[4]! >>> 0, true);
  const bytes = machine.memory.bytes(R[7]!, R[6]! >>> 0, into.length, false);
  if (bytes) into.set(bytes);
  else into.fill(0);
  machine.answer(bytes ? 0 : -errno.EFAULT);
};

/** Finds a name in the kernel's BTF, for syscall programs that test for kernel functions. */
const findByName: Helper = (machine) => {
  const R = machine.registers;
  const name = decodeCString(machine.argumentBytes(1, R[4]! >>> 0));
  const kind: BtfKindName | undefined = btfKindNames[R[6]! >>> 0];
  if (kind === undefined || BtfKind[kind] === 0) return machine.answer(-errno.EINVAL);
  machine.answer(machine.kernelBtf?.byName(name, kind)?.id ?? -errno.ENOENT);
};

/** The implementations by number of `enum bpf_func_id` (linux/bpf.h). */
export const basicHelpers: Readonly<Record<number, readonly [name: string, helper: Helper]>> = {
  5: ['ktime_get_ns', now],
  7: ['get_prandom_u32', random],
  8: ['get_smp_processor_id', (machine) => machine.answer(machine.cpu)],
  // One program runs at a time, so that no lock is ever held.
  93: ['spin_lock', zero],
  94: ['spin_unlock', zero],
  113: ['probe_read_kernel', readKernel],
  125: ['ktime_get_boot_ns', now],
  127: ['seq_write', sequenceWrite],
  160: ['ktime_get_coarse_ns', coarse],
  167: ['btf_find_by_name_kind', findByName],
  // Programs never get a descriptor here that they could close.
  168: ['sys_close', (machine) => machine.answer(-errno.EBADF)],
  186: ['get_retval', (machine) => machine.answer(machine.returnValue)],
  187: ['set_retval', setReturnValue],
};
