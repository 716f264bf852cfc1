import type { Memory, SpecialRegion } from './memory.ts';

/** The layout of a packet context (struct xdp_md, struct __sk_buff). Offsets in bytes. */
export interface PacketLayout {
  readonly size: number;
  readonly data: number;
  readonly dataEnd: number;
  readonly dataMeta: number;
  /** The length of the packet; -1: the context has none. */
  readonly length: number;
  /** The ranges that programs may write: the first byte and the one behind the last. */
  readonly writable: readonly (readonly [from: number, to: number])[];
}

export const xdpLayout: PacketLayout = {
  size: 24,
  data: 0,
  dataEnd: 4,
  dataMeta: 8,
  length: -1,
  writable: [[16, 20]],
};

export const skbLayout: PacketLayout = {
  size: 192,
  data: 76,
  dataEnd: 80,
  dataMeta: 140,
  length: 0,
  // mark, queue_mapping, priority, tc_index and cb, tc_classid, tstamp
  writable: [
    [8, 16],
    [32, 36],
    [44, 68],
    [72, 76],
    [152, 160],
  ],
};

/** XDP_PACKET_HEADROOM. The kernel uses a part of it for struct xdp_frame. */
const HEADROOM = 256;
const FRAME_STRUCT = 40;
const ETHERNET = 14;
/** A page without headroom and struct skb_shared_info. */
const FRAME_END = 4096 - 320;
/** MTU of lo, with the link header. */
const LARGEST = 65536 + ETHERNET;

/**
 * A packet and its context. The offset of a pointer to the packet is relative to the start of its
 * metadata. A change of the packet's size gives it a new region, so that older pointers fault: the
 * verifier refuses their use.
 */
export class Packet implements SpecialRegion {
  readonly context: Uint8Array;
  readonly layout: PacketLayout;
  readonly #memory: Memory;
  readonly #view: DataView;
  readonly #contextRegion: number;
  #region: number;
  #buffer: Uint8Array;
  #meta: number;
  #data: number;
  #end: number;

  /** `context` has the fields without pointers. The bytes of the packet are copied. */
  constructor(memory: Memory, layout: PacketLayout, bytes: Uint8Array, context: Uint8Array) {
    this.#memory = memory;
    this.layout = layout;
    this.context = context;
    this.#view = new DataView(context.buffer, context.byteOffset, context.byteLength);
    this.#buffer = new Uint8Array(Math.max(FRAME_END, HEADROOM + bytes.length + HEADROOM));
    this.#buffer.set(bytes, HEADROOM);
    this.#data = HEADROOM;
    this.#meta = HEADROOM;
    this.#end = HEADROOM + bytes.length;
    this.#region = memory.add({ kind: 'packet' }, this.#visible());
    this.#contextRegion = memory.add({ kind: 'context', context: this });
    this.#setLength();
  }

  /** The region for r1. */
  get region(): number {
    return this.#contextRegion;
  }

  /** The present bytes of the packet. */
  get packet(): Uint8Array {
    return this.#buffer.subarray(this.#data, this.#end);
  }

  /** Replaces the packet. The other fields of the context stay the same. */
  reset(bytes: Uint8Array): void {
    if (HEADROOM + bytes.length + HEADROOM > this.#buffer.length) {
      this.#buffer = new Uint8Array(HEADROOM + bytes.length + HEADROOM);
    }
    this.#buffer.fill(0);
    this.#buffer.set(bytes, HEADROOM);
    this.isWrapped = false;
    this.#moveTo(HEADROOM, HEADROOM, HEADROOM + bytes.length);
  }

  load(offset: number, size: number, into: Int32Array, at: number): boolean {
    const { layout } = this;
    if (offset < 0 || offset + size > layout.size) return false;
    if (size === 4) {
      const place =
        offset === layout.data
          ? this.#data
          : offset === layout.dataEnd
            ? this.#end
            : offset === layout.dataMeta
              ? this.#meta
              : -1;
      if (place >= 0) {
        into[at] = place - this.#meta;
        into[at + 1] = this.#region;
        return true;
      }
    }
    into[at + 1] = size === 8 ? this.#view.getInt32(offset + 4, true) : 0;
    into[at] =
      size === 1
        ? this.#view.getUint8(offset)
        : size === 2
          ? this.#view.getUint16(offset, true)
          : this.#view.getInt32(offset, true);
    return true;
  }

  store(offset: number, size: number, low: number, high: number): boolean {
    const fits = this.layout.writable.some(([from, to]) => offset >= from && offset + size <= to);
    if (!fits) return false;
    if (size === 1) this.#view.setUint8(offset, low);
    else if (size === 2) this.#view.setUint16(offset, low, true);
    else this.#view.setInt32(offset, low, true);
    if (size === 8) this.#view.setInt32(offset + 4, high, true);
    return true;
  }

  /** bpf_xdp_adjust_head: returns false when there is no room. Moves the metadata. */
  adjustHead(by: number): boolean {
    const data = this.#data + by;
    const meta = this.#data - this.#meta;
    if (data - meta < FRAME_STRUCT || data > this.#end - ETHERNET) return false;
    this.#buffer.copyWithin(data - meta, this.#meta, this.#data);
    this.#moveTo(data - meta, data, this.#end);
    return true;
  }

  /** bpf_xdp_adjust_tail: returns false when there is no room. New bytes are zero. */
  adjustTail(by: number): boolean {
    const end = this.#end + by;
    if (end > FRAME_END || end < this.#data + ETHERNET) return false;
    if (by > 0) this.#buffer.fill(0, this.#end, end);
    this.#moveTo(this.#meta, this.#data, end);
    return true;
  }

  /** bpf_skb_change_tail: returns false for less than the link header or more than the room. */
  resize(length: number): boolean {
    const end = this.#data + length;
    if (length < ETHERNET || length > LARGEST) return false;
    if (end + HEADROOM > this.#buffer.length) {
      const larger = new Uint8Array(end + HEADROOM);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    if (end > this.#end) this.#buffer.fill(0, this.#end, end);
    this.#moveTo(this.#meta, this.#data, end);
    return true;
  }

  /** True if it was encapsulated (skb->encapsulation). */
  isWrapped = false;

  /** Inserts that many zeros at an offset, or (negative) removes bytes there. */
  adjustRoom(offset: number, by: number): void {
    if (by < 0) {
      this.#buffer.copyWithin(this.#data - by, this.#data, this.#data + offset);
      this.#moveTo(this.#data - by, this.#data - by, this.#end);
      return;
    }
    const larger = new Uint8Array(this.#buffer.length + by);
    larger.set(this.#buffer.subarray(0, this.#data + offset));
    larger.set(this.#buffer.subarray(this.#data + offset), this.#data + offset + by);
    this.#buffer = larger;
    this.#moveTo(this.#meta, this.#data, this.#end + by);
  }

  /** bpf_xdp_adjust_meta: returns false for a size that is not allowed. */
  adjustMeta(by: number): boolean {
    const meta = this.#meta + by;
    const length = this.#data - meta;
    if (meta < FRAME_STRUCT || length < 0 || length % 4 !== 0 || length > 252) return false;
    this.#moveTo(meta, this.#data, this.#end);
    return true;
  }

  dispose(): void {
    this.#memory.remove(this.#region);
    this.#memory.remove(this.#contextRegion);
  }

  #moveTo(meta: number, data: number, end: number): void {
    this.#meta = meta;
    this.#data = data;
    this.#end = end;
    this.#memory.remove(this.#region);
    this.#region = this.#memory.add({ kind: 'packet' }, this.#visible());
    this.#setLength();
  }

  #visible(): Uint8Array {
    return this.#buffer.subarray(this.#meta, this.#end);
  }

  #setLength(): void {
    if (this.layout.length >= 0) {
      this.#view.setUint32(this.layout.length, this.#end - this.#data, true);
    }
  }
}
