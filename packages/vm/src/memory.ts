/**
 * The kinds of memory. A pointer has the number of a region in the upper 32 bits and an offset in the
 * lower ones, so that arithmetic never leads from one region into another, and each access is checked
 * by the bounds of its region. Number 0 is no region: a null pointer faults.
 */
export type Owner =
  | { readonly kind: 'stack' }
  | { readonly kind: 'packet' }
  | { readonly kind: 'map-value'; readonly map: string }
  | { readonly kind: 'record'; readonly map: string }
  | { readonly kind: 'kernel'; readonly what: string; readonly object?: object }
  /** The code of a program, for pointers to functions; the offset counts slots. */
  | { readonly kind: 'code'; readonly program: object }
  | { readonly kind: 'map'; readonly map: object }
  | { readonly kind: 'context'; readonly context: SpecialRegion };

/** A region with special accesses: some fields of a context are pointers. */
export interface SpecialRegion {
  /** Reads into `into[at]` (low word) and `into[at + 1]` (high word). Returns false if that can't be read. */
  load(offset: number, size: number, into: Int32Array, at: number): boolean;
  /** Returns false if that can't be written. */
  store(offset: number, size: number, low: number, high: number): boolean;
}

/** The view of a region that can't be accessed directly. */
const nothing = new DataView(new ArrayBuffer(0));

/** Small numbers are not used, so that a scalar is rarely a valid pointer. */
const FIRST_REGION = 16;

/** All memory that programs can access. */
export class Memory {
  /** The readable and the writable bytes by region. Both have an entry for each region. */
  readonly views: DataView[] = [];
  readonly writable: DataView[] = [];
  readonly #owners: (Owner | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #retired: number[] = [];

  constructor() {
    for (let i = 0; i < FIRST_REGION; i++) this.#append();
  }

  /** Makes a region and returns its number. Without `bytes` it can't be accessed. */
  add(owner: Owner, bytes?: Uint8Array, writable = true): number {
    const region = this.#free.pop() ?? this.#append();
    this.#owners[region] = owner;
    if (bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.views[region] = view;
      if (writable) this.writable[region] = view;
    }
    return region;
  }

  /** Replaces the bytes of a region. */
  replace(region: number, bytes: Uint8Array, writable = true): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.views[region] = view;
    this.writable[region] = writable ? view : nothing;
  }

  /** Removes a region at once. Pointers to it fault until the number is used again. */
  remove(region: number): void {
    this.views[region] = nothing;
    this.writable[region] = nothing;
    this.#owners[region] = undefined;
    this.#free.push(region);
  }

  /** Removes a region when no program runs: the one that deleted it may still use it. */
  retire(region: number): void {
    this.#retired.push(region);
  }

  /** Removes the retired regions. */
  collect(): void {
    for (let region = this.#retired.pop(); region !== undefined; region = this.#retired.pop()) {
      this.remove(region);
    }
  }

  owner(region: number): Owner | undefined {
    return this.#owners[region];
  }

  /** Returns the bytes at an address; undefined unless they are within one region. */
  bytes(region: number, offset: number, size: number, write: boolean): Uint8Array | undefined {
    const view = (write ? this.writable : this.views)[region];
    if (view === undefined || offset < 0 || offset + size > view.byteLength) return undefined;
    return new Uint8Array(view.buffer, view.byteOffset + offset, size);
  }

  #append(): number {
    this.views.push(nothing);
    this.writable.push(nothing);
    return this.#owners.push(undefined) - 1;
  }
}

/** Returns the name of a kind of memory, for faults. */
export function ownerText(owner: Owner): string {
  switch (owner.kind) {
    case 'stack':
      return 'the stack frame';
    case 'packet':
      return 'the packet';
    case 'map-value':
      return `a value of map ${owner.map}`;
    case 'record':
      return `a record of ring buffer ${owner.map}`;
    case 'kernel':
      return owner.what;
    case 'code':
      return 'code';
    case 'map':
      return 'a map itself';
    case 'context':
      return 'the context';
  }
}
