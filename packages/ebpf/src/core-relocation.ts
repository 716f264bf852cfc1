import { type Btf, BtfError } from './btf.ts';
import { BtfKind } from './btf-types.ts';
import {
  accessIndices,
  type FieldAccess,
  localAccess,
  localEnumerator,
  matchAccess,
  matchEnumerator,
} from './core-access.ts';
import { patchInstruction, type Resolution } from './core-patch.ts';
import { isEnum, kindsCompatible, TypeComparison } from './core-types.ts';
import type { CoreRelocation, ProgramSpec } from './spec.ts';

/** BPF_CORE_* (enum bpf_core_relo_kind of linux/bpf.h). */
export const CoreKind = {
  fieldByteOffset: 0,
  fieldByteSize: 1,
  fieldExists: 2,
  fieldSigned: 3,
  fieldLeftShift: 4,
  fieldRightShift: 5,
  typeIdLocal: 6,
  typeIdTarget: 7,
  typeExists: 8,
  typeSize: 9,
  enumeratorExists: 10,
  enumeratorValue: 11,
  typeMatches: 12,
} as const;

const kindNames = Object.keys(CoreKind);

/** A relocation without a definite result: the object is broken or the kernel's types conflict. */
export class RelocationError extends Error {
  override readonly name = 'RelocationError';

  constructor(what: string, cause: string) {
    super(`relocate ${what}: ${cause}`);
  }
}

/**
 * Returns the program's instructions, adapted to the types of the running kernel (CO-RE). An instruction
 * that uses something that the kernel lacks becomes a call of an impossible helper (`corePoison`), which
 * the verifier accepts in dead code and refuses elsewhere. Throws RelocationError where candidates in
 * the kernel's BTF contradict each other or an instruction can't hold the result, and BtfError for
 * broken type information.
 */
export function applyCoreRelocations(
  program: ProgramSpec,
  objectBtf: Btf,
  kernelBtf: Btf,
): Uint8Array {
  const instructions = program.instructions.slice();
  const resolver = new CoreResolver(objectBtf, kernelBtf);
  for (const relocation of program.relocations) {
    const resolution = resolver.resolve(relocation);
    const problem = patchInstruction(instructions, relocation.at, resolution);
    if (problem !== undefined) {
      const what = `${program.name}, ${describeRelocation(relocation, objectBtf)}`;
      throw new RelocationError(what, problem);
    }
  }
  return instructions;
}

/** Resolves the relocations of one object, equal ones once. */
export class CoreResolver {
  readonly #local: Btf;
  readonly #target: Btf;
  readonly #comparison: TypeComparison;
  readonly #candidates = new Map<number, number[]>();
  readonly #results = new Map<string, Resolution>();

  constructor(objectBtf: Btf, kernelBtf: Btf) {
    this.#local = objectBtf;
    this.#target = kernelBtf;
    this.#comparison = new TypeComparison(objectBtf, kernelBtf);
  }

  /** Returns the result of a relocation. Throws RelocationError, BtfError. */
  resolve(relocation: CoreRelocation): Resolution {
    const { typeId, access, kind } = relocation;
    const key = `${kind} ${typeId} ${access}`;
    let result = this.#results.get(key);
    if (result === undefined) {
      result = this.#work(relocation);
      this.#results.set(key, result);
    }
    return result;
  }

  #work(relocation: CoreRelocation): Resolution {
    const { typeId, kind } = relocation;
    if (kind === CoreKind.typeIdLocal) return { value: BigInt(typeId) };
    const resolveIn = this.#question(relocation);
    const all = this.#candidatesOf(relocation);
    const fitting: number[] = [];
    let decided: (Resolution & { bitOffset?: number }) | undefined;
    for (const candidate of all) {
      const resolution = resolveIn(candidate);
      if (resolution === undefined) continue;
      fitting.push(candidate);
      decided ??= resolution;
      if (decided.value !== resolution.value || decided.bitOffset !== resolution.bitOffset) {
        throw new RelocationError(
          describeRelocation(relocation, this.#local),
          `types ${fitting.join(' and ')} of the kernel both fit, and differ`,
        );
      }
    }
    // Later relocations of the same type use the candidates that fitted this one.
    if (fitting.length > 0) this.#candidates.set(typeId, fitting);
    return decided ?? missing(kind);
  }

  /** Returns the function that resolves the relocation for a candidate, or returns undefined if it does not fit. */
  #question(relocation: CoreRelocation) {
    const { typeId, access, kind } = relocation;
    const [local, target] = [this.#local, this.#target];
    if (kind <= CoreKind.fieldRightShift) {
      const field = localAccess(local, typeId, access);
      const before = fieldFacts(local, field);
      return (candidate: number) => {
        const found = matchAccess(local, field, target, candidate);
        return found && { ...fieldResolution(target, found, kind, before), ...found };
      };
    }
    if (kind === CoreKind.enumeratorExists || kind === CoreKind.enumeratorValue) {
      const index = accessIndices(access)[0]!;
      localEnumerator(local, typeId, index);
      return (candidate: number) => {
        const value = matchEnumerator(local, typeId, index, target, candidate);
        if (value === undefined) return undefined;
        return { value: kind === CoreKind.enumeratorExists ? 1n : value, bitOffset: 0 };
      };
    }
    if (kind > CoreKind.typeMatches) {
      throw new RelocationError(`type ${typeId}`, `kind ${kind} is unknown`);
    }
    return (candidate: number) => {
      const fits =
        kind === CoreKind.typeMatches
          ? this.#comparison.matches(typeId, candidate)
          : this.#comparison.compatible(typeId, candidate);
      if (!fits) return undefined;
      return { value: BigInt(this.#typeFact(kind, candidate)), bitOffset: 0 };
    };
  }

  #typeFact(kind: number, candidate: number): number {
    if (kind === CoreKind.typeIdTarget) return candidate;
    return kind === CoreKind.typeSize ? this.#target.sizeOf(candidate) : 1;
  }

  #candidatesOf({ typeId }: CoreRelocation): number[] {
    let candidates = this.#candidates.get(typeId);
    if (candidates === undefined) {
      const type = this.#local.typeById(typeId);
      if (type.name === '') {
        throw new RelocationError(`type ${typeId}`, 'a type without a name can not be searched');
      }
      candidates = this.#target
        .idsByEssentialName(type.name)
        .filter((id) => kindsCompatible(type, this.#target.typeById(id)));
      this.#candidates.set(typeId, candidates);
    }
    return candidates;
  }
}

/** Returns the result where no candidate fits: 0 for tests of existence, poison for uses. */
function missing(kind: number): Resolution {
  const isUse =
    kind === CoreKind.enumeratorValue ||
    (kind <= CoreKind.fieldRightShift && kind !== CoreKind.fieldExists);
  return isUse ? { value: undefined } : { value: 0n };
}

interface FieldFacts {
  readonly byteOffset: number;
  readonly byteSize: number;
  readonly bitSize: number;
  readonly signed: boolean;
  readonly isBitField: boolean;
  readonly isMember: boolean;
  /** The kind of a field with which loads and stores may change their width; undefined for other fields. */
  readonly resizable: 'pointer' | 'unsigned' | undefined;
}

function fieldFacts(btf: Btf, { steps, bitOffset }: FieldAccess): FieldFacts {
  const { typeId, member } = steps.at(-1)!;
  const id = btf.resolve(member?.typeId ?? typeId);
  const type = btf.typeById(id);
  const size = btf.sizeOf(id);
  const facts = {
    isMember: member !== undefined,
    signed: (type.kind === 'int' || isEnum(type)) && type.signed,
    resizable:
      type.kind === 'ptr'
        ? ('pointer' as const)
        : type.kind === 'int' && !type.signed
          ? ('unsigned' as const)
          : undefined,
  };
  const bitSize = member?.bitSize ?? 0;
  if (bitSize === 0) {
    const byteOffset = Math.floor(bitOffset / 8);
    return { ...facts, byteOffset, byteSize: size, bitSize: size * 8, isBitField: false };
  }
  // The narrowest aligned load, at least as wide as the declared type, that covers the bit field.
  let byteSize = Math.max(size, 1);
  const start = () => Math.floor(bitOffset / 8 / byteSize) * byteSize;
  while (bitOffset + bitSize > (start() + byteSize) * 8) {
    byteSize *= 2;
    if (byteSize > 8) throw new BtfError(`type ${typeId} has a bit field that no load covers`);
  }
  return { ...facts, byteOffset: start(), byteSize, bitSize, isBitField: true };
}

function fieldResolution(
  target: Btf,
  found: FieldAccess,
  kind: number,
  before: FieldFacts,
): Resolution {
  if (kind === CoreKind.fieldExists) return { value: 1n };
  const field = fieldFacts(target, found);
  const shift = (bits: number) => ({ value: BigInt(64 - bits) });
  switch (kind) {
    case CoreKind.fieldByteOffset: {
      const value = BigInt(field.byteOffset);
      if (field.isBitField || before.isBitField || field.byteSize === before.byteSize) {
        return { value };
      }
      const canResize = field.resizable !== undefined && field.resizable === before.resizable;
      return {
        value,
        resize: { from: before.byteSize, to: canResize ? field.byteSize : undefined },
      };
    }
    case CoreKind.fieldByteSize:
      return { value: BigInt(field.byteSize) };
    case CoreKind.fieldSigned:
      return { value: field.signed ? 1n : 0n };
    case CoreKind.fieldLeftShift:
      // Shifts the upper end of the field to that of 64 bits, in little-endian order.
      return shift(found.bitOffset + field.bitSize - 8 * field.byteOffset);
    default:
      return shift(field.bitSize);
  }
}

/** Describes a relocation in words: `fieldByteOffset of struct sock.__sk_common.skc_family`. */
export function describeRelocation(relocation: CoreRelocation, btf: Btf): string {
  const { typeId, access, kind } = relocation;
  const type = btf.typeById(typeId);
  const subject = `${kindNames[kind] ?? `kind ${kind}`} of ${type.kind} ${type.name}`;
  if (kind === CoreKind.enumeratorExists || kind === CoreKind.enumeratorValue) {
    return `${subject}.${localEnumerator(btf, typeId, accessIndices(access)[0]!)}`;
  }
  if (kind > CoreKind.fieldRightShift || btf.kindOf(typeId) === BtfKind.void) return subject;
  const [root, ...steps] = localAccess(btf, typeId, access).steps;
  const start = root!.index === 0 ? '' : `[${root!.index}]`;
  const path = steps.map(({ member, index }) => (member ? `.${member.name}` : `[${index}]`));
  return subject + start + path.join('');
}
