import type { Program } from './machine.ts';
import type { VmMap } from './maps/map.ts';

/** The target of descriptors, pins and references of other objects. It ends with the last of them. */
export abstract class VmObject {
  readonly kind: 'program' | 'map' | 'btf' | 'link' | 'iterator' | 'file';
  readonly id: number;
  #references = 0;
  #users = 0;

  constructor(kind: VmObject['kind'], id: number) {
    this.kind = kind;
    this.id = id;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references === 0) this.destroy();
  }

  /** Adds a reference of a descriptor or a pin. */
  retainForUser(): this {
    this.#users++;
    return this.retain();
  }

  releaseForUser(): void {
    if (--this.#users === 0) this.forgottenByUsers();
    this.release();
  }

  /** Called when no descriptor and no pin is left. Programs may still use the object. */
  protected forgottenByUsers(): void {}

  /** Releases the references of the object. */
  protected abstract destroy(): void;
}

export class MapObject extends VmObject {
  readonly map: VmMap;
  readonly btf: BtfObject | undefined;
  readonly #onDestroy: (object: VmObject) => void;

  constructor(
    id: number,
    map: VmMap,
    btf: BtfObject | undefined,
    onDestroy: (object: VmObject) => void,
  ) {
    super('map', id);
    this.map = map;
    this.btf = btf?.retain();
    this.#onDestroy = onDestroy;
  }

  /** Cancels the timers, which refer to the program, which refers to the map. */
  protected override forgottenByUsers(): void {
    this.map.stopTimers();
  }

  protected override destroy(): void {
    this.map.dispose();
    this.btf?.release();
    this.#onDestroy(this);
  }
}

export class BtfObject extends VmObject {
  readonly bytes: Uint8Array;
  readonly #onDestroy: (object: VmObject) => void;

  constructor(id: number, bytes: Uint8Array, onDestroy: (object: VmObject) => void) {
    super('btf', id);
    this.bytes = bytes;
    this.#onDestroy = onDestroy;
  }

  protected override destroy(): void {
    this.#onDestroy(this);
  }
}

export class ProgramObject extends VmObject {
  readonly program: Program;
  readonly maps: readonly MapObject[];
  readonly btf: BtfObject | undefined;
  /** Nanoseconds of the machine's clock. */
  readonly loadTime: bigint;
  /** The BTF id of the target of a tracing program. */
  readonly attachBtfId: number;
  /** Hash of the instructions, 8 bytes. It is not the SHA of the kernel. */
  readonly tag: Uint8Array;
  readonly #onUnload: () => void;
  readonly #onDestroy: (object: VmObject) => void;

  constructor(
    id: number,
    program: Program,
    parts: {
      maps: readonly MapObject[];
      btf: BtfObject | undefined;
      loadTime: bigint;
      attachBtfId: number;
      tag: Uint8Array;
      onUnload: () => void;
    },
    onDestroy: (object: VmObject) => void,
  ) {
    super('program', id);
    this.program = program;
    program.object = this;
    this.maps = parts.maps.map((map) => map.retain());
    this.btf = parts.btf?.retain();
    this.loadTime = parts.loadTime;
    this.attachBtfId = parts.attachBtfId;
    this.tag = parts.tag;
    this.#onUnload = parts.onUnload;
    this.#onDestroy = onDestroy;
  }

  protected override destroy(): void {
    this.#onUnload();
    for (const map of this.maps) map.release();
    this.btf?.release();
    this.#onDestroy(this);
  }
}
