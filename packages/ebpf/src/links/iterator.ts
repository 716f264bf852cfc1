import { checked, errno, type Platform, syscallNumbers } from '@heddle/sys';
import type { Bpf } from '../bpf.ts';
import type { BpfMap } from '../map.ts';
import type { BpfProgram } from '../program.ts';
import { attachTypes } from '../uapi.ts';
import { attaching, type Link } from './link.ts';

/** sizeof(union bpf_iter_link_info). */
const ITERATOR_INFO_SIZE = 16;

/**
 * Makes an iterator program ready to be read, as often as one likes. Programs of iter/bpf_map_elem
 * and iter/bpf_sk_storage_map need the map to walk over. Throws SysError.
 */
export function attachIterator(
  bpf: Bpf,
  program: BpfProgram,
  target: { readonly map?: BpfMap } = {},
): Link {
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
 * Runs an iterator once over all its objects and returns what the program wrote. Iterators over
 * sockets see the network namespace that the calling thread is in. Throws SysError.
 */
export function readIterator(bpf: Bpf, platform: Platform, link: Link): Uint8Array {
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
      // EAGAIN: a million objects went by without output (bpf_seq_read); it goes on from there.
      if (got === -errno.EINTR || got === -errno.EAGAIN) continue;
      if (checked('read', got, 'read iterator') === 0) return bytes.slice(0, length);
      length += got;
    }
  } finally {
    bpf.close(fd);
  }
}
