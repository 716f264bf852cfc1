import type { attachTypes, mapTypes, programTypes } from './uapi.ts';

// The first kernel version with each feature, for error messages.

/** The first kernel version with each type of map. */
export const mapSince = {
  hash: '3.19',
  array: '3.19',
  prog_array: '4.2',
  perf_event_array: '4.3',
  percpu_hash: '4.6',
  percpu_array: '4.6',
  stack_trace: '4.6',
  cgroup_array: '4.8',
  lru_hash: '4.10',
  lru_percpu_hash: '4.10',
  lpm_trie: '4.11',
  array_of_maps: '4.12',
  hash_of_maps: '4.12',
  devmap: '4.14',
  sockmap: '4.14',
  cpumap: '4.15',
  xskmap: '4.18',
  sockhash: '4.18',
  cgroup_storage: '4.19',
  reuseport_sockarray: '4.19',
  percpu_cgroup_storage: '4.20',
  queue: '4.20',
  stack: '4.20',
  sk_storage: '5.2',
  devmap_hash: '5.4',
  ringbuf: '5.8',
  inode_storage: '5.10',
  task_storage: '5.11',
  bloom_filter: '5.16',
  user_ringbuf: '6.1',
  cgrp_storage: '6.2',
  arena: '6.9',
} as const satisfies { readonly [type in keyof typeof mapTypes]?: string };

/** The first kernel version with each type of program. */
export const programSince = {
  socket_filter: '3.19',
  kprobe: '4.1',
  sched_cls: '4.1',
  sched_act: '4.1',
  tracepoint: '4.7',
  xdp: '4.8',
  perf_event: '4.9',
  cgroup_skb: '4.10',
  cgroup_sock: '4.10',
  sock_ops: '4.13',
  sk_skb: '4.14',
  cgroup_device: '4.15',
  sk_msg: '4.17',
  raw_tracepoint: '4.17',
  cgroup_sock_addr: '4.17',
  sk_reuseport: '4.19',
  flow_dissector: '4.20',
  cgroup_sysctl: '5.2',
  cgroup_sockopt: '5.3',
  tracing: '5.5',
  lsm: '5.7',
  sk_lookup: '5.9',
  syscall: '5.14',
  netfilter: '6.4',
} as const satisfies { readonly [type in keyof typeof programTypes]?: string };

/** Attach types that a program names when it is loaded: program type and version. */
export const attachSince = {
  cgroup_inet_sock_create: ['cgroup_sock', '4.10'],
  cgroup_inet4_post_bind: ['cgroup_sock', '4.17'],
  cgroup_inet6_post_bind: ['cgroup_sock', '4.17'],
  cgroup_inet_sock_release: ['cgroup_sock', '5.9'],
  cgroup_inet4_bind: ['cgroup_sock_addr', '4.17'],
  cgroup_inet6_bind: ['cgroup_sock_addr', '4.17'],
  cgroup_inet4_connect: ['cgroup_sock_addr', '4.17'],
  cgroup_inet6_connect: ['cgroup_sock_addr', '4.17'],
  cgroup_udp4_sendmsg: ['cgroup_sock_addr', '4.18'],
  cgroup_udp6_sendmsg: ['cgroup_sock_addr', '4.18'],
  cgroup_udp4_recvmsg: ['cgroup_sock_addr', '5.2'],
  cgroup_udp6_recvmsg: ['cgroup_sock_addr', '5.2'],
  cgroup_inet4_getpeername: ['cgroup_sock_addr', '5.8'],
  cgroup_inet6_getpeername: ['cgroup_sock_addr', '5.8'],
  cgroup_inet4_getsockname: ['cgroup_sock_addr', '5.8'],
  cgroup_inet6_getsockname: ['cgroup_sock_addr', '5.8'],
  cgroup_getsockopt: ['cgroup_sockopt', '5.3'],
  cgroup_setsockopt: ['cgroup_sockopt', '5.3'],
} as const satisfies {
  readonly [type in keyof typeof attachTypes]?: readonly [keyof typeof programTypes, string];
};

/** BPF_FUNC_* number and version of helpers that this project's programs use. */
export const helperSince = {
  csum_diff: [28, '4.6'],
  fib_lookup: [69, '4.18'],
  sk_lookup_tcp: [84, '4.20'],
  sk_lookup_udp: [85, '4.20'],
  skc_lookup_tcp: [99, '5.2'],
  sk_storage_get: [107, '5.2'],
  sk_storage_delete: [108, '5.2'],
  probe_read_kernel: [113, '5.5'],
  get_netns_cookie: [122, '5.6'],
  sk_assign: [124, '5.6'],
  ktime_get_boot_ns: [125, '5.8'],
  ringbuf_reserve: [131, '5.8'],
  redirect_neigh: [152, '5.10'],
  redirect_peer: [155, '5.10'],
  ktime_get_coarse_ns: [160, '5.11'],
  for_each_map_elem: [164, '5.13'],
  timer_init: [169, '5.15'],
  loop: [181, '5.17'],
  get_retval: [186, '5.18'],
  set_retval: [187, '5.18'],
} as const satisfies { readonly [name: string]: readonly [number, string] };

/** The first kernel version with each kind of link. */
export const linkSince = {
  cgroup: '5.7',
  iter: '5.8',
  xdp: '5.9',
  tcx: '6.6',
  netkit: '6.8',
} as const;

/** Batch update by map type. */
export const batchSince = {
  hash: '5.6',
  lru_hash: '5.6',
  percpu_hash: '5.6',
  array: '5.6',
  lpm_trie: '5.7',
  percpu_array: '5.13',
  hash_of_maps: '5.13',
} as const satisfies { readonly [type in keyof typeof mapSince]?: string };

/** Kernel functions that this project calls. For others no version is known. */
export const kfuncSince: Readonly<Record<string, string>> = {
  bpf_skb_ct_lookup: '5.19',
  bpf_xdp_ct_lookup: '5.19',
  bpf_sock_destroy: '6.5',
};

/** Targets of iterators that some kernels refuse although their version has them. */
export const iteratorSince = {
  bpf_map_elem: '5.9',
  bpf_sk_storage_map: '5.9',
} as const;

/** The name of a feature of the kernel, e.g. `link/tcx` or `helper/xdp/redirect`. */
export type Feature =
  | `map/${keyof typeof mapSince}`
  | `program/${keyof typeof programSince}`
  | `attach/${keyof typeof attachSince}`
  | `helper/${keyof typeof programSince}/${keyof typeof helperSince}`
  | `link/${keyof typeof linkSince}`
  | `iter/${keyof typeof iteratorSince}`
  | `batch/${keyof typeof batchSince}`
  | `kfunc/${string}`;
