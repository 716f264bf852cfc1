import { type NetworkNamespace, Sysctls } from '@heddle/netlink';
import { type Platform, SysError } from '@heddle/sys';

const setting = 'ipv4/tcp_congestion_control';

/** Advice for the errors of a congestion control that can't be used (net/ipv4/tcp_cong.c). */
const remedies: Readonly<Record<string, (name: string) => string>> = {
  ENOENT: (name) => `the kernel has none of that name; load its module: modprobe tcp_${name}`,
  EPERM: (name) =>
    `pods may not use it; add it on the node: sysctl -w net.ipv4.tcp_allowed_congestion_control="... ${name}"`,
};

/**
 * Sets the congestion control of the TCP sockets that are opened in a pod from now on. Returns a sentence with
 * the remedy if the kernel has no such algorithm for pods; the pod then keeps the one that it has. `sysctls`:
 * see Sysctls. Throws SysError.
 */
export function setCongestionControl(
  platform: Platform,
  namespace: NetworkNamespace,
  name: string,
  sysctls?: string,
): string | undefined {
  try {
    namespace.enter(() => new Sysctls(platform, sysctls).write(setting, name));
    return undefined;
  } catch (error) {
    const remedy = error instanceof SysError ? remedies[error.code] : undefined;
    if (!remedy) throw error;
    return `congestion control ${name} cannot be used: ${remedy(name)}`;
  }
}

/** Returns the congestion control of new sockets in the network namespace of the thread. Throws SysError. */
export function congestionControl(platform: Platform): string {
  return new Sysctls(platform).read(setting);
}
