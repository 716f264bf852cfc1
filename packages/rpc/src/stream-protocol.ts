/** Limits of what the clients of a server can cost it. */
export interface ServerLimits {
  readonly clients: number;
  /** Bytes of replies and events that may wait for one client; a client with more events is dropped. */
  readonly pendingBytes: number;
  /** Milliseconds without a request after which a client is closed, unless it is kept open. */
  readonly idleMs: number;
  /** Milliseconds after which a client that does not read its replies is closed. */
  readonly stalledMs: number;
}

export const defaultLimits: ServerLimits = {
  clients: 64,
  pendingBytes: 1024 * 1024,
  idleMs: 60_000,
  stalledMs: 10_000,
};

/** One connected client, as a protocol uses it. */
export interface Client {
  readonly isOpen: boolean;
  /** Queues a reply to a request. */
  reply(bytes: Uint8Array): void;
  /** Sends an event. Drops the client when more than `pendingBytes` wait for it. */
  push(bytes: Uint8Array): void;
  /** Exempts the client from `idleMs`, because it waits for events. */
  keepOpen(): void;
  /**
   * Keeps the connection until `end`, also beyond `idleMs` and when the client has shut down its side, because the reply
   * comes later.
   */
  wait(): void;
  /** Ends the connection once all replies are sent; no further request is answered. */
  end(): void;
}

/** The state of a protocol for one client. */
export interface Session {
  /** Adds received bytes, which are valid only during the call. It may hold one request and a chunk. */
  receive(bytes: Uint8Array): void;
  /** Answers the next request; returns false when there is no complete one. */
  answerNext(): boolean;
  /** The client has shut down its side: no more bytes come. */
  receiveEnd?(): void;
  /** Takes descriptors that came with the next bytes, and owns them from then on; see StreamProtocol. */
  receiveDescriptors?(descriptors: readonly number[]): void;
  /** The connection is closed. */
  close?(): void;
}

/** A protocol over a byte stream. */
export interface StreamProtocol {
  /** Name of a client in log messages, e.g. `control client`. */
  readonly clientName: string;
  readonly limits: ServerLimits;
  /**
   * Returns what is sent to a client beyond `limits.clients` before it is closed. If absent, the client
   * is accepted and the longest idle one is closed, so that idle connections do not block new clients.
   */
  readonly refusal?: () => Uint8Array;
  /** Clients may send descriptors (SCM_RIGHTS of unix sockets). Default: they are closed unread. */
  readonly takesDescriptors?: boolean;
  newSession(client: Client): Session;
}
