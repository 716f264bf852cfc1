/** BTF_KIND_* (linux/btf.h), by the names that bpftool prints in lower case. */
export const BtfKind = {
  void: 0,
  int: 1,
  ptr: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  fwd: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  func: 12,
  func_proto: 13,
  var: 14,
  datasec: 15,
  float: 16,
  decl_tag: 17,
  type_tag: 18,
  enum64: 19,
} as const;

/** The kind of a BTF type. */
export type BtfKindName = keyof typeof BtfKind;

/** Names of the kinds by number. */
export const btfKindNames = Object.keys(BtfKind) as readonly BtfKindName[];

interface Of<Kind extends BtfKindName> {
  readonly id: number;
  readonly kind: Kind;
  /** Empty for a type without a name. */
  readonly name: string;
}

/** A member of a struct or union. */
export interface BtfMember {
  readonly name: string;
  readonly typeId: number;
  /** The offset from the start of the struct. */
  readonly bitOffset: number;
  /** Width of a bit field; 0 for any other member. */
  readonly bitSize: number;
}

/** An enumerator of an enum. */
export interface BtfEnumerator {
  readonly name: string;
  readonly value: bigint;
}

/** A parameter of a function. */
export interface BtfParameter {
  /** Empty where the declaration gives none. */
  readonly name: string;
  /** 0 in the last parameter means `...`. */
  readonly typeId: number;
}

/** A variable or function in a section. */
export interface BtfSectionEntry {
  /** A VAR, or a FUNC in `.ksyms`. */
  readonly typeId: number;
  readonly offset: number;
  readonly size: number;
}

/** An integer, boolean or character. */
export interface BtfInt extends Of<'int'> {
  /** Bytes. */
  readonly size: number;
  readonly bits: number;
  readonly bitOffset: number;
  readonly signed: boolean;
  readonly char: boolean;
  readonly bool: boolean;
}

/** A struct or a union. */
export interface BtfComposite extends Of<'struct' | 'union'> {
  /** Bytes. */
  readonly size: number;
  readonly members: readonly BtfMember[];
}

/** An enum of 32 or 64 bits. */
export interface BtfEnum extends Of<'enum' | 'enum64'> {
  /** Bytes. */
  readonly size: number;
  readonly signed: boolean;
  readonly values: readonly BtfEnumerator[];
}

/** An array. */
export interface BtfArray extends Of<'array'> {
  readonly elementTypeId: number;
  readonly indexTypeId: number;
  readonly count: number;
}

/** Types that only refer to another one. */
export interface BtfReference
  extends Of<'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag'> {
  readonly typeId: number;
}

/** The parameters and the result of a function. */
export interface BtfFunctionPrototype extends Of<'func_proto'> {
  readonly returnTypeId: number;
  readonly parameters: readonly BtfParameter[];
}

/** A function. */
export interface BtfFunction extends Of<'func'> {
  /** The FUNC_PROTO. */
  readonly typeId: number;
  readonly linkage: BtfLinkage;
}

/** A global variable. */
export interface BtfVariable extends Of<'var'> {
  readonly typeId: number;
  readonly linkage: BtfLinkage;
}

/** BTF_FUNC_* and BTF_VAR_*, which share their numbers. */
export type BtfLinkage = number;
export const LINKAGE_STATIC = 0;
export const LINKAGE_GLOBAL = 1;
export const LINKAGE_EXTERN = 2;

/** A section of variables or functions. */
export interface BtfSection extends Of<'datasec'> {
  /** Bytes; 0 as clang leaves it. */
  readonly size: number;
  readonly entries: readonly BtfSectionEntry[];
}

/** A tag of a declaration (btf_decl_tag). */
export interface BtfDeclarationTag extends Of<'decl_tag'> {
  readonly typeId: number;
  /** The index of the tagged member or parameter; -1 for the type itself. */
  readonly component: number;
}

/** A type of BTF. */
export type BtfType =
  | Of<'void'>
  | BtfInt
  | BtfArray
  | BtfComposite
  | BtfEnum
  | (Of<'fwd'> & { readonly union: boolean })
  | BtfReference
  | BtfFunction
  | BtfFunctionPrototype
  | BtfVariable
  | BtfSection
  | (Of<'float'> & { readonly size: number })
  | BtfDeclarationTag;
