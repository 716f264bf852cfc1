import type { ServiceRow } from '@heddle/services';
import type { Platform } from '@heddle/sys';
import type { Datapath } from '../src/datapath.ts';
import type { DatapathOptions } from '../src/datapath-options.ts';
import { TestSocket } from './sockets/sockets.ts';

/** A network namespace for sockets: a pod's, or the node's. */
export interface TestPlace {
  readonly addresses: { readonly v4: string; readonly v6: string };
  enter<Result>(work: () => Result): Result;
}

/** A node with pods, sockets in them, and a datapath: in the kernel or in the userspace machine. */
export abstract class SocketWorld<
  Pod extends TestPlace = TestPlace,
  Node extends TestPlace = TestPlace,
> implements Disposable
{
  readonly platform: Platform;
  abstract readonly node: Node;
  abstract datapath: Datapath;
  readonly #open: Disposable[] = [];

  constructor(platform: Platform) {
    this.platform = platform;
  }

  abstract pod(number: number): Pod;

  protected abstract start(options?: Partial<DatapathOptions>): Datapath;

  /** Opens a new datapath, as if the agent before was killed. */
  restart(options: Partial<DatapathOptions> = {}): Datapath {
    this.datapath[Symbol.dispose]();
    this.datapath = this.start(options);
    return this.datapath;
  }

  /** Returns a socket in a pod or on the node; closed with the world. */
  socket(place: TestPlace, family: 4 | 6, kind: 'tcp' | 'udp' | 'mptcp'): TestSocket {
    const socket = place.enter(() => new TestSocket(this.platform, family, kind));
    this.#open.push(socket);
    return socket;
  }

  /** Returns a TCP socket that listens in a pod, on all addresses of the family. */
  listener(place: TestPlace, family: 4 | 6, port: number): TestSocket {
    const socket = this.socket(place, family, 'tcp');
    socket.reuseAddress();
    if (family === 6) socket.onlyIpv6();
    if (socket.bind(family === 4 ? '0.0.0.0' : '::', port) !== 'ok')
      throw new Error(`bind ${port}`);
    socket.listen();
    return socket;
  }

  /** Returns a bound UDP socket in a pod. */
  receiver(place: TestPlace, family: 4 | 6, port: number): TestSocket {
    const socket = this.socket(place, family, 'udp');
    if (family === 6) socket.onlyIpv6();
    if (socket.bind(family === 4 ? '0.0.0.0' : '::', port) !== 'ok')
      throw new Error(`bind ${port}`);
    return socket;
  }

  /** Programs rows; throws when one of them fails. */
  apply(...rows: readonly ServiceRow[]): void {
    for (const error of this.datapath.services.update(rows)) if (error) throw error;
  }

  abstract [Symbol.dispose](): void;

  protected close(): void {
    for (const socket of this.#open) socket[Symbol.dispose]();
    this.datapath[Symbol.dispose]();
  }
}
