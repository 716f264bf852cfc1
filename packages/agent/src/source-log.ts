import type { EventLog } from './events.ts';
import type { Source, SourceBatch, SourceProblem, SourceState } from './source/source.ts';
import type { CoreStatus } from './status.ts';

/** Keeps the problems of the source, and makes events of them and of its connection. */
export class SourceLog {
  readonly #events: EventLog;
  #problems: readonly SourceProblem[] = [];
  #hasRead = false;
  #isComplete = false;
  /** The time at which the connection was lost, in milliseconds since 1970. */
  #disconnectedMs: number | undefined;

  constructor(events: EventLog) {
    this.#events = events;
  }

  /** True once the source has reported for the first time. */
  get hasRead(): boolean {
    return this.#hasRead;
  }

  /** True once the source has delivered everything. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** The present problems. */
  get problems(): readonly SourceProblem[] {
    return this.#problems;
  }

  /** Makes events of the notes and of the new problems of a batch. */
  add({ complete, problems, notes }: SourceBatch, { content, state }: Source): void {
    for (const note of notes) this.#report('info', note);
    const before = this.#problems;
    if (problems !== before) {
      const known = new Set(before.map(whereAndWhat));
      for (const problem of problems) {
        if (!known.has(whereAndWhat(problem))) this.#report('warn', problem);
      }
      if (known.size > 0 && problems.length === 0) {
        this.#events.add('info', 'source', state.path, `all ${content} can be used again`);
      }
    }
    this.#problems = problems;
    this.#hasRead = true;
    this.#isComplete = complete;
  }

  /** Makes an event of a connection that was lost or is back. */
  setPhase({ phase, path, sinceMs, reason }: SourceState): void {
    if (phase === 'disconnected') {
      this.#disconnectedMs = sinceMs;
      const message = `disconnected from ${path}: ${reason}; what is programmed stays`;
      this.#events.add('warn', 'source', path, message);
    } else if (this.#disconnectedMs !== undefined) {
      const seconds = Math.round((sinceMs - this.#disconnectedMs) / 1000);
      this.#disconnectedMs = undefined;
      this.#events.add('info', 'source', path, `connected to ${path} again after ${seconds} s`);
    }
  }

  #report(level: 'info' | 'warn', what: SourceProblem): void {
    const kind = level === 'info' ? 'source' : 'problem';
    this.#events.add(level, kind, what.file, whereAndWhat(what));
  }
}

/** Returns the state as `status` shows it. */
export function shownState(
  state: SourceState,
): Omit<CoreStatus['source'], 'complete' | 'problems'> {
  const { kind, path, phase, sinceMs, lastEventMs, reason, retryAtMs } = state;
  const time = (ms: number) => new Date(ms).toISOString();
  return {
    ...{ kind, path, phase, since: time(sinceMs) },
    ...(lastEventMs === undefined ? {} : { lastEvent: time(lastEventMs) }),
    ...(reason === undefined ? {} : { reason }),
    ...(retryAtMs === undefined ? {} : { retryAt: time(retryAtMs) }),
  };
}

function whereAndWhat({ file, line, message }: SourceProblem): string {
  if (file === '') return message;
  return line > 0 ? `${file}:${line}: ${message}` : `${file}: ${message}`;
}
