import {
  checked,
  decodeUtf8,
  type Platform,
  readDirectory,
  readFile,
  syscallNumbers,
} from '@heddle/sys';

/** The resources of this process, as the kernel accounts them. */
export interface ProcessFacts {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly virtualBytes: number;
  /** Seconds since 1970. */
  readonly startSeconds: number;
  readonly openFds: number;
  readonly maxFds: number;
}

// The unit of times in /proc is the same on all machines: USER_HZ is 100 (proc_pid_stat(5)).
const ticksPerSecond = 100;
const RLIMIT_NOFILE = 7;

/** Reads /proc/self. Throws SysError. */
export function processFacts(platform: Platform): ProcessFacts {
  const stat = parseStat(text(platform, '/proc/self/stat'));
  const boot = Number(/^btime (\d+)$/m.exec(text(platform, '/proc/stat'))?.[1] ?? 0);
  return {
    cpuSeconds: stat.cpuTicks / ticksPerSecond,
    residentBytes: stat.residentPages * platform.pageSize,
    virtualBytes: stat.virtualBytes,
    startSeconds: boot + stat.startTicks / ticksPerSecond,
    // Without the one that lists them.
    openFds: readDirectory(platform, '/proc/self/fd').length - 1,
    maxFds: maxFds(platform),
  };
}

/** Fields of /proc/PID/stat; the name of the program may hold blanks and brackets. */
export function parseStat(line: string): {
  cpuTicks: number;
  startTicks: number;
  virtualBytes: number;
  residentPages: number;
} {
  // The fields after the name are numbered from 3 on in proc_pid_stat(5).
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => Number(fields[number - 3] ?? 0);
  return {
    cpuTicks: field(14) + field(15),
    startTicks: field(22),
    virtualBytes: field(23),
    residentPages: field(24),
  };
}

function maxFds(platform: Platform): number {
  const limits = new Uint8Array(16);
  const nr = syscallNumbers(platform).getrlimit;
  checked('getrlimit', platform.syscall(nr, RLIMIT_NOFILE, limits));
  return Number(new DataView(limits.buffer).getBigUint64(0, true));
}

function text(platform: Platform, path: string): string {
  return decodeUtf8(readFile(platform, path));
}
