import { errno, type Platform, type SyscallArgument, syscallNumbers } from '@heddle/sys';

/** The errors that system calls can be made to fail with. */
export const failures = ['EMFILE', 'ENOMEM', 'EINTR', 'EPERM', 'ENOSPC'] as const;
export type Failure = (typeof failures)[number];

/** A Platform that counts system calls and makes chosen ones fail. */
export interface FailingPlatform extends Platform {
  /** The number of system calls so far. */
  readonly calls: number;
  /** Makes the call with that number (from 1) fail, and the `more` following calls. */
  failAt(call: number, failure: Failure, more?: number): void;
  /** The errors that callbacks have thrown: in an agent, these would end the process. */
  readonly thrown: readonly unknown[];
}

export function failingPlatform(base: Platform): FailingPlatform {
  const numbers = syscallNumbers(base);
  // getpid(2) and uname(2) never fail. close(2) and munmap(2) release the resource even if they
  // report an error.
  const always = new Set<number>([numbers.getpid, numbers.uname]);
  const releasing = new Set<number>([numbers.close, numbers.munmap]);
  const thrown: unknown[] = [];
  let calls = 0;
  let from = 0;
  let to = 0;
  let code = 0;
  const guarded = (work: () => void) => () => {
    try {
      work();
    } catch (error) {
      thrown.push(error);
    }
  };
  return {
    ...base,
    get calls() {
      return calls;
    },
    thrown,
    failAt(call, failure, more = 0) {
      from = call;
      to = call + more;
      code = errno[failure];
    },
    syscall(number: number, ...given: readonly SyscallArgument[]) {
      calls++;
      if (calls < from || calls > to || always.has(number)) return base.syscall(number, ...given);
      if (releasing.has(number)) base.syscall(number, ...given);
      return -code;
    },
    onReadable: (fd, ready) => base.onReadable(fd, guarded(ready)),
    setTimer: (milliseconds, fire) => base.setTimer(milliseconds, guarded(fire)),
  };
}
