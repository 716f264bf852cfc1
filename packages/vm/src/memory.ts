/**
 * What stands behind an address. A pointer is a region's number in the upper 32 bits and an offset
 * in the lower ones, so arithmetic on it never leads from one region into another, and each access
 * is checked by the region's own bounds. Number 0 is no region: a null pointer faults.
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

/** A region whose accesses are more than bytes: some of a context's fields are pointers. */
export interface SpecialRegion {
  /** Reads into `into[at]` (low word) and `into[at + 1]` (high word); false when there is nothing to read. */
  load(offset: number, size: number, into: Int32Array, at: number): boolean;
  /** False when that can't be written. */
  store(offset: number, size: number, low: number, high: number): boolean;
}

/** Takes the place of a view where nothing may be accessed directly. */
const nothing = new DataView(new ArrayBuffer(0));

/** Small numbers stay free, so that a scalar is rarely taken for a pointer. */
const FIRST_REGION = 16;

/** All memory that programs can reach. */
export class Memory {
  /** By region: what may be read, and what may be written. Both have an entry for each region. */
  readonly views: DataView[] = [];
  readonly writable: DataView[] = [];
  readonly #owners: (Owner | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #retired: number[] = [];

  constructor() {
    for (let i = 0; i < FIRST_REGION; i++) this.#append();
  }

  /** Makes a region. Without `bytes` it can only be pointed to. Returns its number. */
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

  /** Puts other bytes behind a region's number. */
  replace(region: number, bytes: Uint8Array, writable = true): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.views[region] = view;
    this.writable[region] = writable ? view : nothing;
  }

  /** Removes a region at once: a pointer to it faults, until the number is used again. */
  remove(region: number): void {
    this.views[region] = nothing;
    this.writable[region] = nothing;
    this.#owners[region] = undefined;
    this.#free.push(region);
  }

  /** Removes a region when nothing runs any more: the program that deleted it may still use it. */
  retire(region: number): void {
    this.#retired.push(region);
  }

  /** Removes what was retired. */
  collect(): void {
    for (let region = this.#retired.pop(); region !== undefined; region = this.#retired.pop()) {
      this.remove(region);
    }
  }

  owner(region: number): Owner | undefined {
    return this.#owners[region];
  }

  /** Bytes at an address, in place; undefined when that is not within one region. */
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
