import type { Bpf } from '../bpf.ts';
import type { BpfProgram } from '../program.ts';
import { attaching, type BpfLink } from './link.ts';

/**
 * Attaches a program to a tracepoint: a raw_tp program to the one of that name, a tp_btf program to the
 * one that it was loaded for. Throws SysError (ENOENT: no such tracepoint).
 */
export function attachTracepoint(bpf: Bpf, program: BpfProgram, name?: string): BpfLink {
  return attaching(bpf, program, `tracepoint ${name ?? ''}`.trimEnd(), undefined, () =>
    bpf.rawTracepointOpen(program.fd, name),
  );
}
