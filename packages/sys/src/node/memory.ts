import { readFileSync } from 'node:fs';
import { cpuUsage } from 'node:process';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import koffi from 'koffi';

// A process that reads a lot once and then waits keeps, by default, twice what it needs: a young
// generation that has grown to three times 16 MiB, old pages that are half empty, freed memory that
// the C library has not given back, and the code of an optimizing compiler. Measured on the agent
// with 5,000 services, at the same CPU time: 180 MiB as it is, 132 with a young generation that does
// not grow, 96 when memory is given back, 87 without the highest tier of optimization (the one below
// it does as well for an agent's work; the tiers below that take twice the CPU time), 52 without the
// pages of files and of maps that only the start needed.

/** Makes V8 prefer a small process. To be called before much is loaded. */
export function keepProcessSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-opt');
  // The old generation is collected, in small steps beside the work, when it has grown by so much.
  setFlagsFromString('--heap-growing-percent=25');
}

const shortestCheckMs = 500;
const longestCheckMs = 60_000;
/** Of one processor; below it the process counts as idle. */
const idleShare = 0.02;
const worthwhileBytes = 4 * 1024 * 1024;

/**
 * Gives memory back to the kernel when the heap has grown and the process is idle: that stops
 * everything for a full garbage collection, some 50 ms with 5,000 services, so it never happens in
 * the middle of work. Looks twice a second while there is work, and ever more rarely while there is
 * none. The program's own pages that only its start needed go at once, so that what is read now does
 * not come on top of them. Doesn't keep the process alive.
 */
export function releaseMemoryWhenIdle(): Disposable {
  releaseFilePages();
  let heap = 0;
  let timer: NodeJS.Timeout;
  const look = (waitedMs: number, before: NodeJS.CpuUsage) => {
    const { user, system } = cpuUsage(before);
    const isIdle = user + system < waitedMs * 1000 * idleShare;
    if (isIdle && getHeapStatistics().total_heap_size >= heap + worthwhileBytes) {
      releaseMemory();
      // Once more after the first work: what is mapped again later is what the process works with.
      if (heap === 0) releaseFilePages();
      heap = getHeapStatistics().total_heap_size;
    }
    lookAfter(isIdle ? Math.min(waitedMs * 2, longestCheckMs) : shortestCheckMs);
  };
  const lookAfter = (ms: number) => {
    timer = setTimeout(look, ms, ms, cpuUsage()).unref();
  };
  lookAfter(shortestCheckMs);
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

let collect: ((options: object) => void) | undefined;
let trim: ((keep: number) => number) | undefined;

/** Gives all memory that is not needed back to the kernel, at once. */
export function releaseMemory(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as (options: object) => void;
  }
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  trim ??= heapTrimmer();
  trim(0);
}

const MADV_DONTNEED = 4;

/**
 * Unmaps the pages of the program's own files: Node.js' start uses 45 MiB of them, what comes after
 * less than half. They stay in the page cache, from which a page that is needed again comes back
 * within a microsecond, but the kernel may drop them without finding them in use here.
 */
function releaseFilePages(): void {
  const advise = koffi.load(null).func('madvise', 'int', ['uintptr_t', 'size_t', 'int']);
  for (const mapping of readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[\da-f]+-)/)) {
    // Not writable, of a file, and without pages that have been written to nevertheless: relocated
    // ones (.data.rel.ro), or breakpoints. Those would be lost.
    const range = /^([\da-f]+)-([\da-f]+) r-[-x]p \S+ \S+ \d+ +\//.exec(mapping);
    if (!range || !/^Anonymous: +0 kB$/m.test(mapping)) continue;
    const start = Number.parseInt(range[1]!, 16);
    advise(start, Number.parseInt(range[2]!, 16) - start, MADV_DONTNEED);
  }
}

/** malloc_trim(3) is glibc's; another C library keeps what it keeps. */
function heapTrimmer(): (keep: number) => number {
  try {
    return koffi.load(null).func('malloc_trim', 'int', ['size_t']);
  } catch {
    return () => 0;
  }
}
