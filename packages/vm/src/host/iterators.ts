import type { Sink } from '../helpers/basics.ts';
import type { LinkObject } from '../links.ts';
import type { Machine } from '../machine.ts';
import type { StorageMap } from '../maps/storage-map.ts';
import { VmObject } from '../objects.ts';
import { SocketHandle } from '../socket.ts';
import type { IteratorTarget } from './kernel-btf.ts';
import type { VmNamespace } from './namespace.ts';

/** The output of an iterator's program, which is read once. */
export class IteratorOutput extends VmObject {
  readonly bytes: Uint8Array;
  position = 0;

  constructor(bytes: Uint8Array) {
    super('iterator', 0);
    this.bytes = bytes;
  }

  protected override destroy(): void {}
}

/** The addresses behind `meta` in the context of one run of the program. */
type Element = readonly number[];

/**
 * Runs the program of an iterator for each of its objects, and once more without one at the end
 * (kernel/bpf/bpf_iter.c). Contexts and structs have the layout of kernel-btf.ts.
 */
export function runIterator(
  machine: Machine,
  link: LinkObject,
  target: IteratorTarget,
  map: StorageMap | undefined,
  namespace: VmNamespace,
  isOpen: (socket: object) => VmNamespace | undefined,
): IteratorOutput {
  const parts: Uint8Array[] = [];
  const sink: Sink = { write: (bytes) => parts.push(bytes) };
  const { memory } = machine;
  const regions: number[] = [];
  const add = (what: string, bytes?: Uint8Array, object?: object) => {
    const region = memory.add({ kind: 'kernel', what, object }, bytes, false);
    regions.push(region);
    return region;
  };
  try {
    const meta = new Uint8Array(8);
    new DataView(meta.buffer).setInt32(4, add('struct seq_file', undefined, sink), true);
    const metaRegion = add('struct bpf_iter_meta', meta);
    const call = (element: Element) => {
      const context = new Uint8Array(8 * (1 + element.length));
      const view = new DataView(context.buffer);
      [metaRegion, ...element].forEach((region, i) => {
        view.setInt32(8 * i + 4, region, true);
      });
      machine.run(link.program.program, add('the context', context));
    };
    if (target === 'bpf_sk_storage_map') {
      if (!map) throw new Error('run iterator: it has no map');
      for (const [socket, value] of [...map.entries()]) {
        const of = isOpen(socket);
        if (of && socket instanceof SocketHandle) call([map.region, socket.region, value]);
      }
      call([map.region, 0, 0]);
    } else {
      const protocol = target === 'tcp' ? 6 : 17;
      for (const { handle, protocol: own } of [...namespace.sockets]) {
        if (own === protocol) call([handle.region]);
      }
      call([0]);
    }
  } finally {
    for (const region of regions) memory.remove(region);
  }
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return new IteratorOutput(bytes);
}
