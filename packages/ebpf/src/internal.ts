// These exports serve the other packages of Heddle, in exactly the same version. They are not stable.
export { BtfKind, type BtfKindName, btfKindNames } from './btf-types.ts';
export { memberOffset } from './core-access.ts';
export { corePoison } from './core-patch.ts';
export { readProgramInfo } from './info.ts';
export { btfForKernel } from './object-btf.ts';
export { completeInstructions, kernelSurroundings, type Surroundings } from './references.ts';
export {
  BPF_ANY,
  BPF_EXIST,
  BPF_F_BEFORE,
  BPF_NOEXIST,
  BPF_PSEUDO_BTF_ID,
  BPF_PSEUDO_FUNC,
  BPF_PSEUDO_MAP_FD,
  BPF_PSEUDO_MAP_VALUE,
  linkTypes,
  nameOf,
} from './uapi.ts';
