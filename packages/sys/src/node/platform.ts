import { readFileSync } from 'node:fs';
import { arch, hrtime } from 'node:process';
import koffi from 'koffi';
import { checked } from '../errors.ts';
import type { LogFields, LogLevel, Platform, SyscallArgument } from '../platform.ts';
import { syscallNumbers } from '../syscalls.ts';
import { openStream } from './byte-stream.ts';
import { runCommand } from './command.ts';

/** Receives the log lines of the core. */
export type LogSink = (level: LogLevel, message: string, fields?: LogFields) => void;

const toStderr: LogSink = (level, message, fields) => {
  process.stderr.write(`${JSON.stringify({ level, message, ...fields })}\n`);
};

/**
 * Returns the Platform of Node.js on Linux (x86-64 and arm64): system calls by koffi, the event loop of
 * libuv. Throws Error on another operating system or architecture.
 */
export function nodePlatform(log: LogSink = toStderr): Platform {
  if (process.platform !== 'linux' || (arch !== 'x64' && arch !== 'arm64')) {
    throw new Error(
      `start heddle: ${process.platform} on ${arch} is not supported (it needs Linux on x64 or arm64)`,
    );
  }
  const libc = koffi.load(null);
  // syscall(2) is variadic in C. Its arguments are integers and pointers, which both ABIs pass in the same
  // way as named arguments, so a fixed prototype works (and is fast).
  const word = 'void *';
  const raw = libc.func('syscall', 'int64', ['int64', word, word, word, word, word, word]);
  const pageSize = Number(libc.func('sysconf', 'long', ['int'])(30));

  const platform: Platform = {
    arch,
    pageSize,
    possibleCpus: readPossibleCpus(),
    syscall(number, ...args) {
      const result = Number(
        raw(
          number,
          toWord(args[0]),
          toWord(args[1]),
          toWord(args[2]),
          toWord(args[3]),
          toWord(args[4]),
          toWord(args[5]),
        ),
      );
      return result === -1 ? -koffi.errno() : result;
    },
    addressOf: (bytes) => (bytes.length === 0 ? 0n : BigInt(koffi.address(bytes))),
    view: (address, length) => new Uint8Array(koffi.view(BigInt(address), length)),
    onReadable(fd, ready) {
      const events = { readable: true };
      // koffi calls back outside of a turn of Node.js: promises that `ready` settles would wait for a
      // later timer. An immediate is a turn, and runs before the next poll.
      const onPoll = ({ readable }: { readable: boolean }) =>
        setImmediate(() => {
          if (!pollHandles.has(handle)) return;
          ready();
          // libuv stops polling a descriptor that reports an error (EPOLLERR), e.g. a socket with an
          // error that the next receive returns.
          if (!readable && pollHandles.has(handle)) handle.start(events, onPoll);
        });
      const handle = koffi.node.poll(fd, events, onPoll);
      // Without this entry the handle would be collected with the caller's Disposable.
      pollHandles.add(handle);
      return {
        [Symbol.dispose]() {
          if (!pollHandles.delete(handle)) return;
          handle.stop();
          handle.close();
        },
      };
    },
    setTimer(milliseconds, fire) {
      const timer = setTimeout(fire, milliseconds);
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
    monotonicNs: () => hrtime.bigint(),
    wallTimeMs: () => Date.now(),
    randomBytes(length) {
      const bytes = new Uint8Array(length);
      const { getrandom } = syscallNumbers(platform);
      for (let at = 0; at < length; ) {
        const rest = bytes.subarray(at);
        at += checked('getrandom', platform.syscall(getrandom, rest, rest.length, 0));
      }
      return bytes;
    },
    connect: openStream,
    run: runCommand,
    log,
  };
  return platform;
}

const pollHandles = new Set<ReturnType<typeof koffi.node.poll>>();

function toWord(argument: SyscallArgument | undefined): bigint | Uint8Array | null {
  if (argument === undefined) return 0n;
  if (typeof argument === 'number') return BigInt.asUintN(64, BigInt(argument));
  if (typeof argument === 'bigint') return BigInt.asUintN(64, argument);
  return argument.length === 0 ? 0n : argument;
}

function readPossibleCpus(): number {
  // Ranges such as `0-3,8`. The highest number determines the size of the kernel's per-CPU values.
  const text = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim();
  return Number(text.split(/[-,]/).at(-1)) + 1;
}
