export { isBpffs, mountBpffs, unmountBpffs } from './bpffs.ts';
export { Btf, BtfError, essentialName } from './btf.ts';
export * from './btf-types.ts';
export { ElfError } from './elf.ts';
export { btfForKernel } from './object-btf.ts';
export { type MapChanges, readObject, resizeMap, setVariable, withMap } from './object-spec.ts';
export { type SectionMeaning, sectionMeaning } from './section-names.ts';
export type * from './spec.ts';
