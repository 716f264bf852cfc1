import type { LogLevel, Platform } from '@heddle/sys';

/** An event, as `events.follow` returns it. */
export interface AgentEvent {
  /** Counts up from 1. */
  readonly number: number;
  readonly time: string;
  readonly kind: 'in-force' | 'failed' | 'removed' | 'problem' | 'source' | 'agent';
  /** Key of the row, or label of the object, that it is about. */
  readonly subject: string;
  readonly message: string;
}

const remembered = 512;

/** Receives events as they happen. Returns false once it wants no more. */
export type Follower = (event: AgentEvent) => boolean;

/** The latest events, for the log and for followers. Old events are dropped, so that memory is bounded. */
export class EventLog {
  readonly #platform: Platform;
  readonly #events: AgentEvent[] = [];
  readonly #followers = new Set<Follower>();
  readonly #counts = new Map<AgentEvent['kind'], number>();
  #last = 0;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Writes a line to the log at `level`, and passes the event to the followers. */
  add(
    level: LogLevel,
    kind: AgentEvent['kind'],
    subject: string,
    message: string,
    fields: { readonly [name: string]: unknown } = {},
  ): void {
    this.#platform.log(level, message, { subject, ...fields });
    const time = new Date(this.#platform.wallTimeMs()).toISOString();
    const event: AgentEvent = { number: ++this.#last, time, kind, subject, message };
    this.#events.push(event);
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    if (this.#events.length >= 2 * remembered) {
      this.#events.splice(0, this.#events.length - remembered);
    }
    for (const follower of this.#followers) {
      if (!follower(event)) this.#followers.delete(follower);
    }
  }

  /** The number of events of each kind. */
  get counts(): ReadonlyMap<AgentEvent['kind'], number> {
    return this.#counts;
  }

  /** Returns the remembered events, oldest first. */
  recent(): AgentEvent[] {
    return this.#events.slice(-remembered);
  }

  /** Passes the remembered events to `follower`, then each new one. */
  follow(follower: Follower): void {
    for (const event of this.recent()) if (!follower(event)) return;
    this.#followers.add(follower);
  }
}
