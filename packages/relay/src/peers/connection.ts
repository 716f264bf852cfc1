import type { Client, Transport } from '@connectrpc/connect';
import { type PeerNode, parsePlace, pause } from '@heddle/hubble';
import { NodeState, type Observer, type ServerStatusResponse } from '@heddle/hubble/messages';
import { BackOff, messageOf } from './back-off.ts';
import { type ObserverClients, openClients, type PeerTlsFiles } from './transport.ts';

/** The settings of connections to observers. */
export interface ConnectionSettings {
  readonly tls?: PeerTlsFiles | undefined;
  /** The interval between looks at the state of an observer that answers, in milliseconds. */
  readonly statusMs?: number;
  /** An observer that does not answer for this time is unavailable, in milliseconds. */
  readonly answerMs?: number;
  /** The shortest and the longest wait after a failure, in milliseconds. */
  readonly retryMs?: readonly [least: number, most: number];
}

/** The connection to one observer. It connects again for ever, with growing waits. Call `close()`. */
export class PeerConnection {
  readonly peer: PeerNode;
  readonly #settings: ConnectionSettings;
  readonly #onChange: () => void;
  readonly #stop = new AbortController();
  #clients: ObserverClients | undefined;
  #state = NodeState.UNKNOWN_NODE_STATE;
  #text = 'the relay connects';
  #since = Date.now();
  #status: ServerStatusResponse | undefined;

  /** `onChange` is called when the state has changed. */
  constructor(peer: PeerNode, settings: ConnectionSettings, onChange: () => void) {
    this.peer = peer;
    this.#settings = settings;
    this.#onChange = onChange;
    void this.#keep();
  }

  get state(): NodeState {
    return this.#state;
  }

  /** The reason for which the observer is not connected; empty if it is. */
  get text(): string {
    return this.#text;
  }

  /** The time of the last change of the state, in milliseconds since 1970. */
  get since(): number {
    return this.#since;
  }

  /** The latest answer of the observer about itself. */
  get status(): ServerStatusResponse | undefined {
    return this.#status;
  }

  /** The client, if the observer is connected. */
  get client(): Client<typeof Observer> | undefined {
    return this.#state === NodeState.NODE_CONNECTED ? this.#clients?.observer : undefined;
  }

  /** The transport of the client. */
  get transport(): Transport | undefined {
    return this.#state === NodeState.NODE_CONNECTED ? this.#clients?.transport : undefined;
  }

  /** Aborts when the connection is closed. */
  get closed(): AbortSignal {
    return this.#stop.signal;
  }

  close(): void {
    this.#stop.abort();
    this.#clients?.close();
  }

  /** Asks the observer about its state again and again until the connection is closed. */
  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    const { statusMs = 5000, answerMs = 5000, retryMs = [500, 30_000] } = this.#settings;
    const backOff = new BackOff(...retryMs);
    while (!signal.aborted) {
      try {
        this.#clients ??= this.#open();
        this.#status = await this.#clients.observer.serverStatus(
          {},
          { timeoutMs: answerMs, signal },
        );
        this.#set(NodeState.NODE_CONNECTED, '');
        backOff.reset();
        await pause(statusMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#clients?.close();
        this.#clients = undefined;
        this.#set(NodeState.NODE_UNAVAILABLE, messageOf(error));
        await pause(backOff.next(), signal);
      }
    }
  }

  #open(): ObserverClients {
    const { address, tlsServerName } = this.peer;
    const place = parsePlace(address);
    if (!place) {
      throw new Error(`the address "${address}" is neither unix:///PATH nor HOST:PORT`);
    }
    const isOpen = tlsServerName === undefined && !('unix' in place);
    if (isOpen && this.#settings.tls?.authority !== undefined) {
      // Otherwise a peer service could take the observers' names away from their certificates.
      throw new Error('the observer has no TLS, and the relay asks for it (--peer-tls-ca)');
    }
    return openClients({ place, tlsServerName }, this.#settings.tls);
  }

  #set(state: NodeState, text: string): void {
    if (state === this.#state && text === this.#text) return;
    if (state !== this.#state) this.#since = Date.now();
    this.#state = state;
    this.#text = text;
    this.#onChange();
  }
}
