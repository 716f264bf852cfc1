import type { Platform } from '../platform.ts';
import { syscallNumbers } from '../syscalls.ts';
import { SOL_SOCKET } from './constants.ts';

const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** struct cmsghdr: length u64, level s32, type s32. */
const controlHeader = 16;
/** Descriptors of one message that are taken; the kernel closes the others. */
const maxDescriptors = 4;
/** struct msghdr of 64-bit kernels, with a struct iovec behind it. */
const messageSize = 56;

/**
 * Reads from a unix socket, as read(2) does, and passes the descriptors that came with the bytes (SCM_RIGHTS), which
 * are close-on-exec, to `take`, which owns them. Returns the number of bytes, or -errno.
 */
export function receiveWithDescriptors(
  platform: Platform,
  fd: number,
  bytes: Uint8Array,
  take: (descriptors: readonly number[]) => void,
): number {
  const control = new Uint8Array(controlHeader + 4 * maxDescriptors);
  const message = new Uint8Array(messageSize + 16);
  const view = new DataView(message.buffer);
  // struct msghdr: name u64, its length u32, iov u64, iovlen u64, control u64, its length u64, flags s32.
  view.setBigUint64(16, platform.addressOf(message) + BigInt(messageSize), true);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(32, platform.addressOf(control), true);
  view.setBigUint64(40, BigInt(control.length), true);
  view.setBigUint64(messageSize, platform.addressOf(bytes), true);
  view.setBigUint64(messageSize + 8, BigInt(bytes.length), true);
  const got = platform.syscall(syscallNumbers(platform).recvmsg, fd, message, MSG_CMSG_CLOEXEC);
  const length = Number(view.getBigUint64(40, true));
  if (got >= 0 && length > controlHeader) take(descriptorsOf(control.subarray(0, length)));
  return got;
}

function descriptorsOf(control: Uint8Array): number[] {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  const length = Math.min(Number(view.getBigUint64(0, true)), control.length);
  const isRights = view.getInt32(8, true) === SOL_SOCKET && view.getInt32(12, true) === SCM_RIGHTS;
  const descriptors: number[] = [];
  for (let at = controlHeader; isRights && at + 4 <= length; at += 4) {
    descriptors.push(view.getInt32(at, true));
  }
  return descriptors;
}
