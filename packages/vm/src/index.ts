export { Descriptors } from './descriptors.ts';
export { type FaultKind, type ProgramPlace, placeText, type SourceLine, VmFault } from './fault.ts';
export { type AttachPoint, LinkObject } from './links.ts';
export type { KernelFunctions } from './loading.ts';
export type { Machine, Observer } from './machine.ts';
export { BtfObject, MapObject, ProgramObject, VmObject } from './objects.ts';
export type { Helper, Program } from './program.ts';
export { seededRandom } from './random.ts';
export { type Pins, VmBpf, type VmOptions } from './vm-bpf.ts';
