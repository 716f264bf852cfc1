import { errno, type Platform, pathExists, syscallNumbers } from '@heddle/sys';
import { cgroupRoot, kernelRelease } from './machine.ts';

// linux/capability.h
const capabilities = {
  CAP_NET_ADMIN: 12,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
} as const;
type Capability = keyof typeof capabilities;

const BPF_MAP_CREATE = 0;
const BPF_MAP_TYPE_ARRAY = 2;

/** The oldest kernel that Heddle runs on. */
export const oldestKernel: readonly [number, number] = [6, 1];

/**
 * Returns the reason why Heddle cannot run on this machine, in a sentence with the remedy, or undefined if it can. The
 * check needs no privilege and leaves nothing behind.
 */
export function preflight(platform: Platform): string | undefined {
  const lacking = lackingCapabilities(effectiveCapabilities(platform));
  if (lacking.length > 0) {
    return `not permitted: the process lacks ${listed(lacking)}; run it as root (e.g. with sudo) or give it those capabilities`;
  }
  const release = kernelRelease(platform);
  if (isOlder(release, oldestKernel)) {
    return `kernel too old: this is Linux ${release}; use Linux ${oldestKernel.join('.')} or newer`;
  }
  const denied = probeBpf(platform);
  if (denied !== undefined) return denied;
  if (!pathExists(platform, '/sys/kernel/btf/vmlinux')) {
    return 'BPF type information missing: there is no /sys/kernel/btf/vmlinux; use a kernel built with CONFIG_DEBUG_INFO_BTF=y, and mount sysfs on /sys';
  }
  if (cgroupRoot(platform) === undefined) {
    return 'cgroup v2 missing: no cgroup2 file system is mounted; mount one, e.g. mount -t cgroup2 none /sys/fs/cgroup/unified';
  }
  return undefined;
}

/** Returns the names of the capabilities that every start needs and the effective set (a bit each) lacks. */
export function lackingCapabilities(effective: bigint): Capability[] {
  const has = (name: Capability) => ((effective >> BigInt(capabilities[name])) & 1n) === 1n;
  // CAP_SYS_ADMIN includes the two newer ones (include/linux/capability.h, bpf_capable). Only some starts need it
  // for itself: to mount a bpf file system, and to enter the namespaces of pods.
  const needed = ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN'] as const;
  return needed.filter((name) => !has(name) && (name === 'CAP_NET_ADMIN' || !has('CAP_SYS_ADMIN')));
}

/** Returns the effective set of the calling thread (capget(2)). */
function effectiveCapabilities(platform: Platform): bigint {
  const version3 = 0x20080522;
  const header = new Uint8Array(8);
  new DataView(header.buffer).setUint32(0, version3, true);
  // Two of struct __user_cap_data_struct: effective, permitted, inheritable (u32 each).
  const data = new Uint8Array(24);
  if (platform.syscall(syscallNumbers(platform).capget, header, data) < 0) return 0n;
  const view = new DataView(data.buffer);
  return BigInt(view.getUint32(0, true)) | (BigInt(view.getUint32(12, true)) << 32n);
}

/** Returns true if a release such as `5.10.0-28-amd64` is older than `oldest`; an unreadable one is not. */
export function isOlder(release: string, oldest: readonly [number, number]): boolean {
  const numbers = /^(\d+)\.(\d+)/.exec(release);
  if (!numbers) return false;
  const [major, minor] = [Number(numbers[1]), Number(numbers[2])];
  return major < oldest[0] || (major === oldest[0] && minor < oldest[1]);
}

/** Creates and closes a minimal map. */
function probeBpf(platform: Platform): string | undefined {
  const nr = syscallNumbers(platform);
  // union bpf_attr for BPF_MAP_CREATE: map_type, key_size, value_size, max_entries (u32 each).
  const attr = new Uint8Array(32);
  new Uint32Array(attr.buffer).set([BPF_MAP_TYPE_ARRAY, 4, 4, 1]);
  const fd = platform.syscall(nr.bpf, BPF_MAP_CREATE, attr, attr.length);
  if (fd >= 0) {
    platform.syscall(nr.close, fd);
    return undefined;
  }
  if (fd === -errno.ENOSYS) {
    return 'BPF missing: this kernel has no bpf system call; use a kernel built with CONFIG_BPF_SYSCALL=y';
  }
  if (fd === -errno.EPERM || fd === -errno.EACCES) {
    return 'BPF not permitted: the kernel refuses bpf(2) even so; allow it in the seccomp profile of the container, or switch off kernel lockdown';
  }
  return `BPF does not work: the smallest map can't be made (errno ${-fd}); check the limit of locked memory and the kernel log`;
}

function listed(names: readonly string[]): string {
  return names.join(', ').replace(/, ([^,]*)$/, ' and $1');
}
