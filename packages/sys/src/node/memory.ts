import { readFileSync } from 'node:fs';
import { cpuUsage } from 'node:process';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import koffi from 'koffi';

// By default, a process that reads much once and then waits keeps twice the memory that it needs: a young
// generation that has grown to three times 16 MiB, half-empty old pages, freed memory that the C library
// has not returned to the kernel, and the code of an optimizing compiler. Measured on the agent with 5,000
// services, at the same CPU time: 180 MiB by default, 132 with a young generation that does not grow, 96
// when memory is returned to the kernel, 87 without the highest tier of optimization (the next lower one is
// as fast for an agent's work; those below take twice the CPU time), 52 without the pages of files and maps
// that only the start needed.

/** Makes V8 prefer a small process. Call it before much is loaded. */
export function keepProcessSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-opt');
  // The growth of the old generation that starts a garbage collection, in small steps beside the work.
  setFlagsFromString('--heap-growing-percent=25');
}

const shortestCheckMs = 500;
const longestCheckMs = 60_000;
/** The share of one CPU below which the process is idle. */
const idleShare = 0.02;
const worthwhileBytes = 4 * 1024 * 1024;

/**
 * Returns memory to the kernel when the heap has grown and the process is idle. That takes a full garbage
 * collection, some 50 ms with 5,000 services, so it never happens during work. Checks twice a second during
 * work, and at growing intervals without it. Pages of the program that only its start needed are released at
 * once, before the heap grows. It does not keep the process alive.
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
      // Again after the first work. The process uses the pages that are mapped afterwards.
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

/** Returns all unused memory to the kernel at once. */
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
 * Unmaps the pages of the program's files: the start of Node.js uses 45 MiB of them, the time after it less
 * than half. They stay in the page cache, from which a page is mapped again within a microsecond, and the
 * kernel may drop them.
 */
function releaseFilePages(): void {
  const advise = koffi.load(null).func('madvise', 'int', ['uintptr_t', 'size_t', 'int']);
  for (const mapping of readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[\da-f]+-)/)) {
    // Read-only mappings of files without modified pages (relocations in .data.rel.ro, breakpoints), which
    // would be lost.
    const range = /^([\da-f]+)-([\da-f]+) r-[-x]p \S+ \S+ \d+ +\//.exec(mapping);
    if (!range || !/^Anonymous: +0 kB$/m.test(mapping)) continue;
    const start = Number.parseInt(range[1]!, 16);
    advise(start, Number.parseInt(range[2]!, 16) - start, MADV_DONTNEED);
  }
}

/** malloc_trim(3) of glibc. Other C libraries lack it. */
function heapTrimmer(): (keep: number) => number {
  try {
    return koffi.load(null).func('malloc_trim', 'int', ['size_t']);
  } catch {
    return () => 0;
  }
}
