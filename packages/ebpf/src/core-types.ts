import { type Btf, BtfError, essentialName } from './btf.ts';
import type {
  BtfArray,
  BtfComposite,
  BtfEnum,
  BtfFunctionPrototype,
  BtfType,
} from './btf-types.ts';

/** The limit of nested types; that of the kernel is 32. */
const deepest = 64;

/** Struct or union. */
export function isComposite(type: BtfType): type is BtfComposite {
  return type.kind === 'struct' || type.kind === 'union';
}

export function isEnum(type: BtfType): type is BtfEnum {
  return type.kind === 'enum' || type.kind === 'enum64';
}

/** Returns true if two kinds are compatible: the same one, or both widths of enums. */
export function kindsCompatible(a: BtfType, b: BtfType): boolean {
  return a.kind === b.kind || (isEnum(a) && isEnum(b));
}

function sameEssentialName(a: string, b: string): boolean {
  return a === b || essentialName(a) === essentialName(b);
}

/**
 * Returns true if a program compiled for a field of the local type can work with one of the target type:
 * integers of any width and sign, pointers to anything, composites of any content, named enums of
 * the same name, arrays of such elements.
 */
export function fieldsCompatible(
  local: Btf,
  localId: number,
  target: Btf,
  targetId: number,
): boolean {
  const a = local.resolved(localId);
  const b = target.resolved(targetId);
  if (isComposite(a) && isComposite(b)) return true;
  if (!kindsCompatible(a, b)) return false;
  switch (a.kind) {
    case 'ptr':
    case 'float':
      return true;
    case 'fwd':
    case 'enum':
    case 'enum64':
      return a.name === '' || b.name === '' || sameEssentialName(a.name, b.name);
    case 'int':
      return a.bitOffset === 0 && b.kind === 'int' && b.bitOffset === 0;
    case 'array':
      // An array of arrays is a type each, so this ends where sizeOf does.
      return elementsCompatible(local, a, target, b as BtfArray);
    default:
      return false;
  }
}

function elementsCompatible(local: Btf, a: BtfArray, target: Btf, b: BtfArray): boolean {
  // Throws for an array that contains itself.
  local.sizeOf(a.id);
  return fieldsCompatible(local, a.elementTypeId, target, b.elementTypeId);
}

/** Compares types of two BTFs. Each comparison visits a pair of types once. */
export class TypeComparison {
  readonly #local: Btf;
  readonly #target: Btf;
  readonly #known = new Map<string, boolean>();
  #depth = 0;

  constructor(local: Btf, target: Btf) {
    this.#local = local;
    this.#target = target;
  }

  /** For BPF_CORE_TYPE_EXISTS: whether the kinds are the same on all levels. Names don't matter. */
  compatible(localId: number, targetId: number): boolean {
    return this.#once(`c${localId}:${targetId}`, () => this.#compatible(localId, targetId));
  }

  #compatible(localId: number, targetId: number): boolean {
    const a = this.#local.resolved(localId);
    const b = this.#target.resolved(targetId);
    if (!kindsCompatible(a, b)) return false;
    switch (a.kind) {
      case 'void':
      case 'struct':
      case 'union':
      case 'enum':
      case 'enum64':
      case 'fwd':
        return true;
      case 'int':
        return a.bitOffset === 0 && b.kind === 'int' && b.bitOffset === 0;
      case 'ptr':
        return b.kind === 'ptr' && this.compatible(a.typeId, b.typeId);
      case 'array':
        return b.kind === 'array' && this.compatible(a.elementTypeId, b.elementTypeId);
      case 'func_proto':
        return b.kind === 'func_proto' && eachSignaturePair(a, b, (x, y) => this.compatible(x, y));
      default:
        return false;
    }
  }

  /**
   * For BPF_CORE_TYPE_MATCHES: whether names are the same, too. The local type may lack members of the
   * target. Behind a pointer, equal names of structs are enough.
   */
  matches(localId: number, targetId: number, behindPointer = false): boolean {
    return this.#once(`m${localId}:${targetId}:${behindPointer}`, () =>
      this.#matches(localId, targetId, behindPointer),
    );
  }

  #matches(localId: number, targetId: number, behindPointer: boolean): boolean {
    const a = this.#local.resolved(localId);
    const b = this.#target.resolved(targetId);
    if (!sameEssentialName(a.name, b.name)) return false;
    switch (a.kind) {
      case 'void':
        return b.kind === 'void';
      case 'fwd':
        if (b.kind === 'fwd') return a.union === b.union;
        return behindPointer && b.kind === (a.union ? 'union' : 'struct');
      case 'enum':
      case 'enum64':
        return isEnum(b) && enumsMatch(a, b);
      case 'struct':
      case 'union':
        if (behindPointer && b.kind === 'fwd') return b.union === (a.kind === 'union');
        if (a.kind !== b.kind) return false;
        return behindPointer || this.#membersMatch(a, b as BtfComposite);
      case 'int':
        return b.kind === 'int' && a.size === b.size && a.signed === b.signed;
      case 'ptr':
        return b.kind === 'ptr' && this.matches(a.typeId, b.typeId, true);
      case 'array':
        return (
          b.kind === 'array' &&
          a.count === b.count &&
          this.matches(a.elementTypeId, b.elementTypeId, behindPointer)
        );
      case 'func_proto':
        return (
          b.kind === 'func_proto' &&
          eachSignaturePair(a, b, (x, y) => this.matches(x, y, behindPointer))
        );
      default:
        return false;
    }
  }

  #membersMatch(a: BtfComposite, b: BtfComposite): boolean {
    if (a.members.length > b.members.length) return false;
    return a.members.every((member) =>
      b.members.some(
        (other) =>
          sameEssentialName(member.name, other.name) && this.matches(member.typeId, other.typeId),
      ),
    );
  }

  /** A pair that recurs within its own comparison (a type that contains itself) counts as equal. */
  #once(pair: string, compare: () => boolean): boolean {
    const known = this.#known.get(pair);
    if (known !== undefined) return known;
    if (this.#depth >= deepest) throw new BtfError(`types are nested deeper than ${deepest}`);
    this.#known.set(pair, true);
    this.#depth++;
    try {
      const result = compare();
      this.#known.set(pair, result);
      return result;
    } finally {
      this.#depth--;
      // The assumptions of one comparison are not results for another.
      if (this.#depth === 0) this.#known.clear();
    }
  }
}

function enumsMatch(a: BtfEnum, b: BtfEnum): boolean {
  return (
    a.values.length <= b.values.length &&
    a.values.every((value) => b.values.some((other) => sameEssentialName(value.name, other.name)))
  );
}

function eachSignaturePair(
  a: BtfFunctionPrototype,
  b: BtfFunctionPrototype,
  same: (localId: number, targetId: number) => boolean,
): boolean {
  return (
    a.parameters.length === b.parameters.length &&
    a.parameters.every((parameter, i) => same(parameter.typeId, b.parameters[i]!.typeId)) &&
    same(a.returnTypeId, b.returnTypeId)
  );
}
