import { closeFd, type Platform, type SyscallArgument, syscallNumbers } from '@heddle/sys';

/** The process has been killed. */
class Killed extends Error {}

/**
 * A platform whose process is killed at a system call, as by SIGKILL: from then on every call fails, so that no
 * clean-up happens, and its descriptors are closed.
 */
export class CrashingPlatform {
  readonly platform: Platform;
  readonly #own: Platform;
  readonly #descriptors = new Set<number>();
  readonly #watches = new Set<Disposable>();
  #callsLeft = Number.POSITIVE_INFINITY;

  constructor(own: Platform) {
    this.#own = own;
    this.platform = {
      ...own,
      syscall: (number, ...args) => this.#syscall(number, args),
      onReadable: (fd, ready) => this.#watch(own.onReadable(fd, () => this.#run(ready))),
      setTimer: (ms, fire) => this.#watch(own.setTimer(ms, () => this.#run(fire))),
    };
  }

  /** True once the process has been killed. */
  get isKilled(): boolean {
    return this.#callsLeft < 0;
  }

  /** Kills the process after so many system calls. */
  killAfter(calls: number): void {
    this.#callsLeft = calls;
  }

  /** Kills the process now. */
  kill(): void {
    this.#callsLeft = -1;
    for (const watch of this.#watches) watch[Symbol.dispose]();
    for (const fd of this.#descriptors) closeFd(this.#own, fd);
    this.#watches.clear();
    this.#descriptors.clear();
  }

  #run(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!this.isKilled) throw error;
    }
    if (this.isKilled) this.kill();
  }

  #syscall(number: number, args: readonly SyscallArgument[]): number {
    if (this.isKilled || --this.#callsLeft < 0) throw new Killed(`killed at system call ${number}`);
    const result = this.#own.syscall(number, ...args);
    const nr = syscallNumbers(this.#own);
    const opening: readonly number[] = [nr.socket, nr.openat, nr.accept4, nr.epoll_create1];
    if (opening.includes(number) && result >= 0) this.#descriptors.add(result);
    else if (number === nr.close) this.#descriptors.delete(args[0] as number);
    else if (number === nr.recvmsg && result >= 0) this.#noteReceived(args[1] as Uint8Array);
    return result;
  }

  /** Notes the descriptors of a struct msghdr whose control message is SCM_RIGHTS. */
  #noteReceived(message: Uint8Array): void {
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    const length = Number(view.getBigUint64(40, true));
    if (length < 20) return;
    const control = this.#own.view(view.getBigUint64(32, true), length);
    const words = new DataView(control.buffer, control.byteOffset, control.byteLength);
    for (let at = 16; at + 4 <= Number(words.getBigUint64(0, true)); at += 4) {
      this.#descriptors.add(words.getInt32(at, true));
    }
  }

  #watch(watch: Disposable): Disposable {
    this.#watches.add(watch);
    return {
      [Symbol.dispose]: () => {
        this.#watches.delete(watch);
        watch[Symbol.dispose]();
      },
    };
  }
}
