import { isMissing, NotSupported, type Platform, readFile } from '@heddle/sys';
import { Btf } from './btf.ts';

// A weak reference: these megabytes are of no use once the programs are loaded.
const cache = new WeakMap<Platform, WeakRef<Btf>>();

/**
 * Returns the BTF of the running kernel (some 5 MB). The first call reads it, and it is kept while
 * a process uses it. Throws NotSupported on kernels that were built without it (CONFIG_DEBUG_INFO_BTF).
 */
export function kernelBtf(platform: Platform): Btf {
  const known = cache.get(platform)?.deref();
  if (known) return known;
  try {
    const btf = Btf.parse(readFile(platform, '/sys/kernel/btf/vmlinux'));
    cache.set(platform, new WeakRef(btf));
    return btf;
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new NotSupported('kernel BTF (/sys/kernel/btf/vmlinux)', '5.4 with DEBUG_INFO_BTF');
  }
}
