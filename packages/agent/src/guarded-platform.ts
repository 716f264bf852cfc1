import type { ByteStreamOptions, Platform, RunResult } from '@heddle/sys';

/** The time in which a repeated message is logged once. */
const quietMs = 60_000;

/**
 * Returns a Platform whose callbacks cannot end the process: an error that the callback of a timer, a readable
 * descriptor, a stream or a command throws is logged and passed to `failed`. This is for unexpected errors; each
 * callback that must run again arms itself first.
 */
export function guardedPlatform(base: Platform, failed: (error: Error) => void): Platform {
  const logged = new Map<string, number>();
  const guarded =
    <Given extends unknown[]>(what: string, work: (...given: Given) => void) =>
    (...given: Given): void => {
      try {
        work(...given);
      } catch (thrown) {
        const error = thrown instanceof Error ? thrown : new Error(String(thrown));
        failed(error);
        const message = `${what} failed: ${error.message}; the agent goes on`;
        const now = base.wallTimeMs();
        if (now - (logged.get(message) ?? Number.NEGATIVE_INFINITY) < quietMs) return;
        if (logged.size > 100) logged.clear();
        logged.set(message, now);
        base.log('error', message, { stack: error.stack });
      }
    };
  const { arch, possibleCpus, pageSize } = base;
  return {
    ...{ arch, possibleCpus, pageSize },
    // Bound instead of wrapped, because system calls are the most frequent operation.
    syscall: base.syscall.bind(base),
    addressOf: base.addressOf.bind(base),
    view: base.view.bind(base),
    monotonicNs: () => base.monotonicNs(),
    wallTimeMs: () => base.wallTimeMs(),
    randomBytes: (length) => base.randomBytes(length),
    log: (level, message, fields) => base.log(level, message, fields),
    onReadable: (fd, ready) => base.onReadable(fd, guarded('reading a descriptor', ready)),
    setTimer: (milliseconds, fire) => base.setTimer(milliseconds, guarded('a timer', fire)),
    connect: (options: ByteStreamOptions) =>
      base.connect({
        ...options,
        onOpen: guarded('opening a connection', options.onOpen),
        onData: guarded('reading a connection', options.onData),
        onClose: guarded('the end of a connection', options.onClose),
      }),
    run: (options, onExit) =>
      base.run(
        options,
        guarded<[RunResult]>('the end of a command', (result) => onExit(result)),
      ),
  };
}
