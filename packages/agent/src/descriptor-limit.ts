import { checked, type Platform, syscallNumbers } from '@heddle/sys';
import { ConfigError } from './config.ts';

const RLIMIT_NOFILE = 7;
/**
 * The number of descriptors that an agent needs: some 50 maps, 30 programs and 20 links, two for each server and
 * client, and those of the runtime. Each health check port takes two more.
 */
export const leastDescriptors = 256;

/**
 * Raises the limit of open files to the hard limit. Throws ConfigError if that is too low: otherwise system calls
 * would fail later at any place, with errors that do not name the cause. Throws SysError.
 */
export function raiseDescriptorLimit(platform: Platform): void {
  const nr = syscallNumbers(platform).prlimit64;
  // struct rlimit64 has the current limit, and the highest one that the process may set (u64 each).
  const limits = new Uint8Array(16);
  const result = platform.syscall(nr, 0, RLIMIT_NOFILE, 0, limits);
  checked('prlimit64', result, 'read limit of open files');
  const view = new DataView(limits.buffer);
  const [now, highest] = [view.getBigUint64(0, true), view.getBigUint64(8, true)];
  if (now < highest) {
    view.setBigUint64(0, highest, true);
    const raised = platform.syscall(nr, 0, RLIMIT_NOFILE, limits, 0);
    checked('prlimit64', raised, 'raise limit of open files');
  }
  if (highest >= BigInt(leastDescriptors)) return;
  throw new ConfigError(
    `start the agent: it may open ${highest} files and needs ${leastDescriptors} at least (raise the limit: ulimit -n 65536 in the shell that starts it, LimitNOFILE=65536 in its systemd unit)`,
  );
}
