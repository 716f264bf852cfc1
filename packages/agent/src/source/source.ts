import type { ObjectChange } from '@heddle/objects';

/** Something that a user should look at, and where. */
export interface SourceProblem {
  /** Name of the file in the folder, or the folder itself; empty for an object of a cluster. */
  readonly file: string;
  /** From 1; 0 when it is about the whole file. */
  readonly line: number;
  readonly message: string;
}

/** What a source has to say at one moment. */
export interface SourceBatch {
  readonly changes: readonly ObjectChange[];
  /**
   * From now on the source's objects are all there are. In a folder it stays false until every
   * manifest could be read and used once, because a broken one may stand for objects of which only
   * the kernel still knows the last good version; those must not be pruned.
   */
  readonly complete: boolean;
  /** All that is wrong now, not only what is new. */
  readonly problems: readonly SourceProblem[];
  /** What was passed over in what was read for this batch. */
  readonly notes: readonly SourceProblem[];
}

/** How a source is connected to what it reads. Times are wall time in milliseconds since 1970. */
export interface SourceState {
  readonly kind: 'folder' | 'cluster';
  /** The folder, or the URL of the API server that is in use. */
  readonly path: string;
  /** `starting` until all was read once; `disconnected` while news can't come. */
  readonly phase: 'starting' | 'following' | 'disconnected';
  /** Since when it is in this phase. */
  readonly sinceMs: number;
  /** When it last heard of an object. */
  readonly lastEventMs?: number;
  /** Why it is disconnected, in words. */
  readonly reason?: string;
  /** When it tries again. */
  readonly retryAtMs?: number;
}

/** The address at which an API server, or the proxy in front of it, is reached. */
export interface ServerAddress {
  /** Canonical text. */
  readonly address: string;
  /** Host order. */
  readonly port: number;
}

/** What the agent's source tells, from the event loop; never while it is being opened. */
export interface SourceListener {
  onChange(batch: SourceBatch): void;
  /** Its phase has changed. */
  onPhase(state: SourceState): void;
  /** `apiServers` has changed; one that is new is connected to as soon as this has returned. */
  onApiServers(servers: readonly ServerAddress[]): void;
}

/** Where the agent's objects come from. */
export interface Source extends Disposable {
  /** What it reads, in words: `manifests`. */
  readonly content: string;
  readonly state: SourceState;
  /** The addresses of the API servers that it may read from, as far as it knows; a folder has none. */
  readonly apiServers: readonly ServerAddress[];
}
