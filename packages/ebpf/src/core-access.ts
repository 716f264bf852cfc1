import { type Btf, BtfError, essentialName } from './btf.ts';
import type { BtfMember } from './btf-types.ts';
import { fieldsCompatible, isComposite, isEnum } from './core-types.ts';

/** One step from a root type to a field. */
export interface AccessStep {
  /** The composite that has the member, or the type of the array element. */
  readonly typeId: number;
  /** Index of the member, or of the element. */
  readonly index: number;
  /** The member; absent for an array element. */
  readonly member: BtfMember | undefined;
}

/** A field of a type in one BTF, with the steps to it. */
export interface FieldAccess {
  readonly steps: readonly AccessStep[];
  /** The offset from the start of the root type. */
  readonly bitOffset: number;
}

/** Returns the numbers of an access string such as `0:1:2`. Throws BtfError. */
export function accessIndices(access: string): number[] {
  const parts = access.split(':').map((part) => (/^\d{1,9}$/.test(part) ? Number(part) : -1));
  if (parts.length > 64 || parts.includes(-1)) {
    throw new BtfError(`access string ${access.slice(0, 80)} is not a list of indices`);
  }
  return parts;
}

/**
 * Returns the field that a relocation of a program names, in the program's own BTF. The first index is
 * that of an array of root types; each other one is that of a member or an element. Throws BtfError.
 */
export function localAccess(btf: Btf, typeId: number, access: string): FieldAccess {
  const [first, ...rest] = accessIndices(access);
  let id = btf.resolve(typeId);
  const steps: AccessStep[] = [{ typeId: id, index: first!, member: undefined }];
  let bitOffset = first === 0 ? 0 : first! * btf.sizeOf(id) * 8;
  for (const index of rest) {
    id = btf.resolve(id);
    const type = btf.typeById(id);
    if (isComposite(type)) {
      const member = type.members[index];
      if (member === undefined) throw new BtfError(`type ${id} has no member ${index}`);
      bitOffset += member.bitOffset;
      // The target may have the member within another composite without a name.
      if (member.name !== '') steps.push({ typeId: id, index, member });
      id = member.typeId;
    } else if (type.kind === 'array') {
      if (index >= type.count && !isFlexible(btf, steps.at(-1)!, type.count)) {
        throw new BtfError(`type ${id} has no element ${index}`);
      }
      id = btf.resolve(type.elementTypeId);
      steps.push({ typeId: id, index, member: undefined });
      bitOffset += index * btf.sizeOf(id) * 8;
    } else {
      throw new BtfError(`type ${id} has neither members nor elements`);
    }
  }
  return { steps, bitOffset };
}

/** Returns true if an index is valid. An array without a length, as the last member, has any number of elements. */
function isFlexible(btf: Btf, step: AccessStep, count: number): boolean {
  if (count > 0 || step.member === undefined) return false;
  const type = btf.typeById(step.typeId);
  return isComposite(type) && step.index === type.members.length - 1;
}

/** Returns the field in the target's BTF that corresponds to a local one, if there is one. */
export function matchAccess(
  local: Btf,
  access: FieldAccess,
  target: Btf,
  targetId: number,
): FieldAccess | undefined {
  const steps: AccessStep[] = [];
  let bitOffset = 0;
  let id = targetId;
  for (const [i, step] of access.steps.entries()) {
    id = target.resolve(id);
    if (step.member !== undefined) {
      const found = findMember(target, id, step.member.name, new Set());
      if (found === undefined) return undefined;
      const { member } = found.step;
      if (!fieldsCompatible(local, step.member.typeId, target, member.typeId)) return undefined;
      steps.push(found.step);
      bitOffset += found.bitOffset;
      id = member.typeId;
      continue;
    }
    if (i > 0) {
      const array = target.typeById(id);
      if (array.kind !== 'array') return undefined;
      if (step.index >= array.count && !isFlexible(target, steps.at(-1)!, array.count)) {
        return undefined;
      }
      id = target.resolve(array.elementTypeId);
    }
    steps.push({ typeId: id, index: step.index, member: undefined });
    if (step.index > 0) bitOffset += step.index * target.sizeOf(id) * 8;
  }
  return { steps, bitOffset };
}

/**
 * Returns the offset in bytes of a member of a struct, also of one within a nested struct without a name;
 * undefined when the types have no such member. Throws BtfError.
 */
export function memberOffset(btf: Btf, struct: string, member: string): number | undefined {
  const type = btf.byName(struct, 'struct');
  const found = type && findMember(btf, type.id, member, new Set());
  return found && Math.floor(found.bitOffset / 8);
}

interface FoundMember {
  readonly step: AccessStep & { readonly member: BtfMember };
  /** The offset from the start of the type that was searched. */
  readonly bitOffset: number;
}

/** The number of structs and unions without a name that a type may contain. */
const maxAnonymous = 500;

/** Searches a composite and the composites without a name in it. */
function findMember(
  btf: Btf,
  typeId: number,
  name: string,
  searched: Set<number>,
): FoundMember | undefined {
  const id = btf.resolve(typeId);
  const type = btf.typeById(id);
  if (!isComposite(type) || searched.has(id)) return undefined;
  if (searched.size >= maxAnonymous) throw new BtfError(`type ${id} is nested too deeply`);
  searched.add(id);
  for (const [index, member] of type.members.entries()) {
    if (member.name === name) {
      return { step: { typeId: id, index, member }, bitOffset: member.bitOffset };
    }
    if (member.name !== '') continue;
    const inner = findMember(btf, member.typeId, name, searched);
    if (inner !== undefined) {
      return { step: inner.step, bitOffset: member.bitOffset + inner.bitOffset };
    }
  }
  return undefined;
}

/** Returns the value of the enumerator that corresponds to number `index` of the local enum, if there is one. */
export function matchEnumerator(
  local: Btf,
  localId: number,
  index: number,
  target: Btf,
  targetId: number,
): bigint | undefined {
  const enumerator = localEnumerator(local, localId, index);
  const name = essentialName(enumerator);
  const type = target.resolved(targetId);
  if (!isEnum(type)) return undefined;
  return type.values.find((candidate) => essentialName(candidate.name) === name)?.value;
}

/** Returns the name of the enumerator that a relocation names. Throws BtfError. */
export function localEnumerator(local: Btf, localId: number, index: number): string {
  const type = local.resolved(localId);
  const value = isEnum(type) ? type.values[index] : undefined;
  if (value === undefined) throw new BtfError(`type ${localId} has no enumerator ${index}`);
  return value.name;
}
