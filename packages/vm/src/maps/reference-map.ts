import type { MapCreateOptions } from '@heddle/ebpf';
import { BPF_EXIST, BPF_NOEXIST } from '@heddle/ebpf/internal';
import { errno } from '@heddle/sys';
import type { Machine, Program } from '../machine.ts';
import { MapObject, ProgramObject, type VmObject } from '../objects.ts';
import { ArrayKeys, type Keys } from './keys.ts';
import { VmMap, viewOf } from './map.ts';

/**
 * A map whose values are other objects: programs (for tail calls) or maps. bpf(2) writes them as
 * descriptors and reads them as ids.
 */
export class ReferenceMap extends VmMap {
  readonly #keys: Keys;
  readonly #isArray: boolean;
  readonly #values: (VmObject | undefined)[] = [];
  /** Returns the object of a descriptor, if the map accepts it. */
  readonly #resolve: (fd: number) => VmObject | undefined;

  constructor(
    machine: Machine,
    options: MapCreateOptions,
    keys: Keys,
    resolve: (fd: number) => VmObject | undefined,
  ) {
    super(machine, options);
    this.#keys = keys;
    this.#isArray = keys instanceof ArrayKeys;
    this.#resolve = resolve;
  }

  override lookup(key: Uint8Array, value: Uint8Array): number {
    const held = this.#values[this.#keys.find(viewOf(key), 0)];
    if (!held) return -errno.ENOENT;
    viewOf(value).setUint32(0, held.id, true);
    return 0;
  }

  override update(key: Uint8Array, value: Uint8Array, flags: number): number {
    if (flags > BPF_EXIST || (this.#isArray && flags !== 0)) return -errno.EINVAL;
    const view = viewOf(key);
    let slot = this.#keys.find(view, 0);
    if (slot >= 0 && flags === BPF_NOEXIST) return -errno.EEXIST;
    if (slot < 0 && flags === BPF_EXIST) return -errno.ENOENT;
    const held = this.#resolve(viewOf(value).getUint32(0, true));
    if (!held) return -errno.EINVAL;
    if (slot < 0) slot = this.#keys.insert(view, 0);
    if (slot < 0) return slot;
    held.retain();
    this.#values[slot]?.release();
    this.#values[slot] = held;
    return 0;
  }

  override delete(key: Uint8Array): number {
    const slot = this.#keys.find(viewOf(key), 0);
    const held = this.#values[slot];
    if (!held) return -errno.ENOENT;
    this.#values[slot] = undefined;
    this.#keys.remove(slot);
    held.release();
    return 0;
  }

  override nextKey(key: Uint8Array | undefined, next: Uint8Array): number {
    const slot = this.#keys.next(key ? this.#keys.find(viewOf(key), 0) : -1);
    if (slot < 0) return -errno.ENOENT;
    this.#keys.copy(slot, next, 0);
    return 0;
  }

  /** Returns the inner map for a lookup by a program. */
  override find(key: DataView, at: number): number {
    const held = this.#values[this.#keys.find(key, at)];
    return held instanceof MapObject ? held.map.region : 0;
  }

  /** Returns the program for a tail call. */
  programAt(index: number): Program | undefined {
    const held = this.#values[index];
    return held instanceof ProgramObject ? held.program : undefined;
  }

  override dispose(): void {
    for (const held of this.#values) held?.release();
    super.dispose();
  }
}
