import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type AskNearest,
  denialService,
  FlowObserver,
  HealthState,
  observerHealthName,
  type PeerNode,
  RpcServer,
} from '@heddle/hubble';
import { Denials, Observer } from '@heddle/hubble/messages';

/** An observer of a node, on a socket of its own. */
export interface ServedObserver {
  readonly peer: PeerNode;
  readonly observer: FlowObserver;
  close(): Promise<void>;
}

/** Observers in a folder of sockets. Call `close()`. */
export class ObserverFolder {
  readonly #folder = mkdtempSync(join(tmpdir(), 'heddle-relay-'));
  readonly #served: ServedObserver[] = [];

  /** Returns the path of a file in the folder. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  /** Starts an observer without flows. One without `nearest` is of a version that answers no questions about rules. */
  async serve(name: string, capacity = 10_000, nearest?: AskNearest): Promise<ServedObserver> {
    const node = { name, labels: [], interfaceName: () => '' };
    const observer = new FlowObserver({ node, version: 'heddle 1', capacity });
    const server = new RpcServer({
      services: [Observer],
      routes: (router) => {
        router.service(Observer, observer.service());
        if (nearest) router.service(Denials, denialService(nearest));
      },
      health: new HealthState([observerHealthName]),
    });
    const unix = this.path(`${name}.sock`);
    await server.listen({ unix });
    const served = {
      peer: { name, address: `unix://${unix}` },
      observer,
      close: () => server.close(),
    };
    this.#served.push(served);
    return served;
  }

  async close(): Promise<void> {
    await Promise.all(this.#served.map((served) => served.close()));
    rmSync(this.#folder, { recursive: true });
  }
}
