import { encodeUtf8, errno } from '@heddle/sys';
import { IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO } from '@heddle/sys/net';
import { VmObject } from '../objects.ts';
import type { Directory, FileChange } from './files.ts';

const bits: Readonly<Record<FileChange, number>> = {
  written: IN_CLOSE_WRITE,
  'moved-from': IN_MOVED_FROM,
  'moved-to': IN_MOVED_TO,
  created: IN_CREATE,
  deleted: IN_DELETE,
};

/** Watches of directories (inotify(7)) and their events. */
export class Inotify extends VmObject {
  /** Called when there is something to read. */
  readonly watchers = new Set<() => void>();
  readonly #watches = new Map<number, { directory: Directory; mask: number; stop: () => void }>();
  #events: Uint8Array[] = [];
  #last = 0;

  constructor() {
    super('file', 0);
  }

  get hasEvents(): boolean {
    return this.#events.length > 0;
  }

  /** Returns the number of the watch, the same for the same directory. */
  add(directory: Directory, mask: number): number {
    for (const [number, watch] of this.#watches) {
      if (watch.directory !== directory) continue;
      watch.mask = mask;
      return number;
    }
    const number = ++this.#last;
    const onChange = (change: FileChange, name: string) => this.#note(number, change, name);
    directory.watchers.add(onChange);
    this.#watches.set(number, { directory, mask, stop: () => directory.watchers.delete(onChange) });
    return number;
  }

  remove(number: number): number {
    const watch = this.#watches.get(number);
    if (!watch) return -errno.EINVAL;
    watch.stop();
    this.#watches.delete(number);
    return 0;
  }

  /** Reads as many whole events as there is room for. */
  read(into: Uint8Array): number {
    if (this.#events.length === 0) return -errno.EAGAIN;
    let at = 0;
    for (
      let next = this.#events[0];
      next && at + next.length <= into.length;
      next = this.#events[0]
    ) {
      into.set(next, at);
      at += next.length;
      this.#events.shift();
    }
    return at > 0 ? at : -errno.EINVAL;
  }

  protected override destroy(): void {
    for (const { stop } of this.#watches.values()) stop();
  }

  /** struct inotify_event: watch, mask, cookie, length of the name that follows. */
  #note(number: number, change: FileChange, name: string): void {
    if (!(this.#watches.get(number)!.mask & bits[change])) return;
    const text = encodeUtf8(name);
    const length = Math.ceil((text.length + 1) / 16) * 16;
    const event = new Uint8Array(16 + length);
    const view = new DataView(event.buffer);
    view.setInt32(0, number, true);
    view.setUint32(4, bits[change], true);
    view.setUint32(12, length, true);
    event.set(text, 16);
    this.#events.push(event);
    for (const wake of this.watchers) wake();
  }
}
