import { type PeerNode, Waiting } from '@heddle/hubble';
import { NodeState } from '@heddle/hubble/messages';
import { type ConnectionSettings, PeerConnection } from './connection.ts';

/** Lists of peers that are longer are cut: each peer costs a connection. */
export const peersMax = 5000;

/** The connections to all observers of the cluster. Call `close()`. */
export class PeerPool {
  readonly #settings: ConnectionSettings;
  readonly #waiting = new Waiting();
  readonly #connections = new Map<string, PeerConnection>();

  constructor(settings: ConnectionSettings = {}) {
    this.#settings = settings;
  }

  /** The connections, in the order of the nodes' names. */
  get connections(): readonly PeerConnection[] {
    return [...this.#connections.values()].sort((a, b) => (a.peer.name < b.peer.name ? -1 : 1));
  }

  /** The connections on which the observer answers. */
  get connected(): readonly PeerConnection[] {
    return this.connections.filter(({ state }) => state === NodeState.NODE_CONNECTED);
  }

  /** Replaces the list of peers. Connections to peers that stay as they are go on. */
  set(peers: readonly PeerNode[]): void {
    const wanted = new Map(peers.slice(0, peersMax).map((peer) => [peer.name, peer]));
    for (const [name, connection] of this.#connections) {
      const peer = wanted.get(name);
      if (peer && isSame(peer, connection.peer)) continue;
      connection.close();
      this.#connections.delete(name);
    }
    for (const [name, peer] of wanted) {
      if (this.#connections.has(name)) continue;
      const onChange = () => this.#waiting.wake();
      this.#connections.set(name, new PeerConnection(peer, this.#settings, onChange));
    }
    this.#waiting.wake();
  }

  /** Resolves when a peer or the state of one has changed, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return this.#waiting.changed(signal);
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
    this.#waiting.wake();
  }
}

function isSame(one: PeerNode, other: PeerNode): boolean {
  return one.address === other.address && one.tlsServerName === other.tlsServerName;
}
