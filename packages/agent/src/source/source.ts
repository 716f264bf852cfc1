import type { ObjectChange } from '@heddle/objects';

/** A problem for the user, and its place. */
export interface SourceProblem {
  /** Name of the file in the folder, or the folder itself; empty for an object of a cluster. */
  readonly file: string;
  /** Counted from 1; 0 if the problem is the whole file's. */
  readonly line: number;
  readonly message: string;
}

/** The changes that a source reports at one moment. */
export interface SourceBatch {
  readonly changes: readonly ObjectChange[];
  /**
   * True once the source has delivered all objects. In a folder it stays false until every manifest could be
   * read and used once, because a broken one may hold objects of which only the kernel still has the last good
   * version; those must not be pruned.
   */
  readonly complete: boolean;
  /** All present problems, old and new. */
  readonly problems: readonly SourceProblem[];
  /** Objects that were ignored in what was read for this batch. */
  readonly notes: readonly SourceProblem[];
}

/** The connection of a source. Times are wall time in milliseconds since 1970. */
export interface SourceState {
  readonly kind: 'folder' | 'cluster';
  /** The folder, or the URL of the API server that is in use. */
  readonly path: string;
  /** `starting` until everything was read once; `disconnected` while no change can arrive. */
  readonly phase: 'starting' | 'following' | 'disconnected';
  /** The time at which the phase began. */
  readonly sinceMs: number;
  /** The time at which the last object arrived. */
  readonly lastEventMs?: number;
  /** The reason why it is disconnected. */
  readonly reason?: string;
  /** The time of the next attempt to connect. */
  readonly retryAtMs?: number;
}

/** The address at which an API server, or the proxy in front of it, is reached. */
export interface ServerAddress {
  /** Canonical text. */
  readonly address: string;
  /** Host order. */
  readonly port: number;
}

/** Receives what a source reports, from the event loop; never while the source is being opened. */
export interface SourceListener {
  onChange(batch: SourceBatch): void;
  /** The phase has changed. */
  onPhase(state: SourceState): void;
  /** `apiServers` has changed; the source connects to a new one as soon as this has returned. */
  onApiServers(servers: readonly ServerAddress[]): void;
}

/** The origin of the agent's objects: a cluster, or a folder of manifests. */
export interface Source extends Disposable {
  /** The name of its content in messages: `manifests`. */
  readonly content: string;
  readonly state: SourceState;
  /** The known addresses of the API servers that it may read from; a folder has none. */
  readonly apiServers: readonly ServerAddress[];
  /** Follows the watches that the features want now. */
  rewatch(): void;
  /** Adds API servers that the objects name to those that the source may connect to. */
  setApiServers(servers: readonly ServerAddress[]): void;
}
