import { checked, errno, syscallNumbers } from '@heddle/sys';
import type { Bpf } from '../bpf.ts';
import type { BpfMap } from '../map.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type BpfLink } from './link.ts';

/** sizeof(union bpf_iter_link_info). */
const ITERATOR_INFO_SIZE = 16;

/**
 * Attaches an iterator program. Each `readIterator` of the link runs it once. Programs of
 * iter/bpf_map_elem and iter/bpf_sk_storage_map iterate over the elements of `target.map`. Throws
 * SysError.
 */
export function attachIterator(
  bpf: Bpf,
  program: BpfProgram,
  target: { readonly map?: BpfMap } = {},
): BpfLink {
  let iteratorInfo: Uint8Array | undefined;
  if (target.map) {
    iteratorInfo = new Uint8Array(ITERATOR_INFO_SIZE);
    new DataView(iteratorInfo.buffer).setUint32(0, target.map.fd, true);
  }
  return attaching(bpf, program, 'iterator', 'link/iter', () =>
    bpf.linkCreate({
      program: program.fd,
      target: 0,
      attachType: attachTypes.trace_iter,
      iteratorInfo,
    }),
  );
}

/**
 * Runs an iterator program once for each of its objects and returns what it wrote. Iterators over
 * sockets list those of the calling thread's network namespace. Throws SysError.
 */
export function readIterator(bpf: Bpf, link: BpfLink): Uint8Array {
  const { platform } = bpf;
  const fd = bpf.iteratorCreate(link.fd);
  const { read } = syscallNumbers(platform);
  try {
    let bytes = new Uint8Array(16384);
    for (let length = 0; ; ) {
      if (length === bytes.length) {
        const larger = new Uint8Array(bytes.length * 2);
        larger.set(bytes);
        bytes = larger;
      }
      const got = platform.syscall(read, fd, bytes.subarray(length), bytes.length - length);
      // EAGAIN: a million objects without output (bpf_seq_read). The next read continues there.
      if (got === -errno.EINTR || got === -errno.EAGAIN) continue;
      if (checked('read', got, 'read iterator') === 0) return bytes.slice(0, length);
      length += got;
    }
  } finally {
    bpf.close(fd);
  }
}
