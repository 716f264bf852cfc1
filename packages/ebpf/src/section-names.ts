// BPF_PROG_TYPE_* and BPF_* attach types of linux/bpf.h by section names.
const SOCKET_FILTER = 1;
const KPROBE = 2;
const SCHED_CLS = 3;
const SCHED_ACT = 4;
const TRACEPOINT = 5;
const XDP = 6;
const PERF_EVENT = 7;
const CGROUP_SKB = 8;
const CGROUP_SOCK = 9;
const LWT_IN = 10;
const LWT_OUT = 11;
const LWT_XMIT = 12;
const SOCK_OPS = 13;
const SK_SKB = 14;
const CGROUP_DEVICE = 15;
const SK_MSG = 16;
const RAW_TRACEPOINT = 17;
const CGROUP_SOCK_ADDR = 18;
const LWT_SEG6LOCAL = 19;
const SK_REUSEPORT = 21;
const FLOW_DISSECTOR = 22;
const CGROUP_SYSCTL = 23;
const RAW_TRACEPOINT_WRITABLE = 24;
const CGROUP_SOCKOPT = 25;
const TRACING = 26;
const STRUCT_OPS = 27;
const EXT = 28;
const LSM = 29;
const SK_LOOKUP = 30;
const SYSCALL = 31;
const NETFILTER = 32;

const BPF_F_SLEEPABLE = 1 << 4;
const BPF_F_XDP_HAS_FRAGS = 1 << 5;

/** The meaning of a section's name for the programs in it. */
export interface SectionMeaning {
  readonly type: number;
  readonly attachType: number;
  readonly attachTo: string | undefined;
  readonly flags: number;
}

type Row = readonly [type: number, attachType: number, flags?: number];

/** Complete names. A suffix after another `/` is only for the reader. */
const rows: Readonly<Record<string, Row>> = {
  socket: [SOCKET_FILTER, 0],
  tc: [SCHED_CLS, 0],
  classifier: [SCHED_CLS, 0],
  'tc/ingress': [SCHED_CLS, 46],
  'tc/egress': [SCHED_CLS, 47],
  action: [SCHED_ACT, 0],
  'tcx/ingress': [SCHED_CLS, 46],
  'tcx/egress': [SCHED_CLS, 47],
  'netkit/primary': [SCHED_CLS, 54],
  'netkit/peer': [SCHED_CLS, 55],
  xdp: [XDP, 37],
  'xdp.frags': [XDP, 37, BPF_F_XDP_HAS_FRAGS],
  'xdp/devmap': [XDP, 33],
  'xdp.frags/devmap': [XDP, 33, BPF_F_XDP_HAS_FRAGS],
  'xdp/cpumap': [XDP, 35],
  'xdp.frags/cpumap': [XDP, 35, BPF_F_XDP_HAS_FRAGS],
  perf_event: [PERF_EVENT, 0],
  lwt_in: [LWT_IN, 0],
  lwt_out: [LWT_OUT, 0],
  lwt_xmit: [LWT_XMIT, 0],
  lwt_seg6local: [LWT_SEG6LOCAL, 0],
  sockops: [SOCK_OPS, 3],
  sk_skb: [SK_SKB, 0],
  'sk_skb/stream_parser': [SK_SKB, 4],
  'sk_skb/stream_verdict': [SK_SKB, 5],
  'sk_skb/verdict': [SK_SKB, 38],
  sk_msg: [SK_MSG, 7],
  sk_reuseport: [SK_REUSEPORT, 39],
  'sk_reuseport/migrate': [SK_REUSEPORT, 40],
  sk_lookup: [SK_LOOKUP, 36],
  flow_dissector: [FLOW_DISSECTOR, 17],
  netfilter: [NETFILTER, 45],
  syscall: [SYSCALL, 0, BPF_F_SLEEPABLE],
  'cgroup/skb': [CGROUP_SKB, 0],
  'cgroup_skb/ingress': [CGROUP_SKB, 0],
  'cgroup_skb/egress': [CGROUP_SKB, 1],
  'cgroup/sock': [CGROUP_SOCK, 2],
  'cgroup/sock_create': [CGROUP_SOCK, 2],
  'cgroup/sock_release': [CGROUP_SOCK, 34],
  'cgroup/post_bind4': [CGROUP_SOCK, 12],
  'cgroup/post_bind6': [CGROUP_SOCK, 13],
  'cgroup/bind4': [CGROUP_SOCK_ADDR, 8],
  'cgroup/bind6': [CGROUP_SOCK_ADDR, 9],
  'cgroup/connect4': [CGROUP_SOCK_ADDR, 10],
  'cgroup/connect6': [CGROUP_SOCK_ADDR, 11],
  'cgroup/connect_unix': [CGROUP_SOCK_ADDR, 49],
  'cgroup/sendmsg4': [CGROUP_SOCK_ADDR, 14],
  'cgroup/sendmsg6': [CGROUP_SOCK_ADDR, 15],
  'cgroup/sendmsg_unix': [CGROUP_SOCK_ADDR, 50],
  'cgroup/recvmsg4': [CGROUP_SOCK_ADDR, 19],
  'cgroup/recvmsg6': [CGROUP_SOCK_ADDR, 20],
  'cgroup/recvmsg_unix': [CGROUP_SOCK_ADDR, 51],
  'cgroup/getpeername4': [CGROUP_SOCK_ADDR, 29],
  'cgroup/getpeername6': [CGROUP_SOCK_ADDR, 30],
  'cgroup/getpeername_unix': [CGROUP_SOCK_ADDR, 52],
  'cgroup/getsockname4': [CGROUP_SOCK_ADDR, 31],
  'cgroup/getsockname6': [CGROUP_SOCK_ADDR, 32],
  'cgroup/getsockname_unix': [CGROUP_SOCK_ADDR, 53],
  'cgroup/sysctl': [CGROUP_SYSCTL, 18],
  'cgroup/getsockopt': [CGROUP_SOCKOPT, 21],
  'cgroup/setsockopt': [CGROUP_SOCKOPT, 22],
  'cgroup/dev': [CGROUP_DEVICE, 6],
};

/** Names whose part after the first `/` is the target of the program. */
const targetRows: Readonly<Record<string, Row>> = {
  iter: [TRACING, 28],
  'iter.s': [TRACING, 28, BPF_F_SLEEPABLE],
  raw_tp: [RAW_TRACEPOINT, 0],
  raw_tracepoint: [RAW_TRACEPOINT, 0],
  'raw_tp.w': [RAW_TRACEPOINT_WRITABLE, 0],
  'raw_tracepoint.w': [RAW_TRACEPOINT_WRITABLE, 0],
  tp_btf: [TRACING, 23],
  fentry: [TRACING, 24],
  'fentry.s': [TRACING, 24, BPF_F_SLEEPABLE],
  fexit: [TRACING, 25],
  'fexit.s': [TRACING, 25, BPF_F_SLEEPABLE],
  fmod_ret: [TRACING, 26],
  'fmod_ret.s': [TRACING, 26, BPF_F_SLEEPABLE],
  freplace: [EXT, 0],
  lsm: [LSM, 27],
  'lsm.s': [LSM, 27, BPF_F_SLEEPABLE],
  lsm_cgroup: [LSM, 43],
  struct_ops: [STRUCT_OPS, 0],
  'struct_ops.s': [STRUCT_OPS, 0, BPF_F_SLEEPABLE],
  tp: [TRACEPOINT, 0],
  tracepoint: [TRACEPOINT, 0],
  kprobe: [KPROBE, 0],
  kretprobe: [KPROBE, 0],
};

/**
 * Returns the meaning of a section's name by the conventions of libbpf
 * (Documentation/bpf/libbpf/program_types.rst). The type is 0 for an unknown name.
 */
export function sectionMeaning(section: string): SectionMeaning {
  // A leading question mark means that the program is loaded only on request; the loader checks that.
  const name = section.startsWith('?') ? section.slice(1) : section;
  const slash = name.indexOf('/');
  const head = slash < 0 ? name : name.slice(0, slash);
  if (Object.hasOwn(targetRows, head)) {
    return meaning(targetRows[head]!, slash < 0 ? undefined : name.slice(slash + 1));
  }
  for (let prefix = name; prefix !== ''; prefix = prefix.slice(0, prefix.lastIndexOf('/'))) {
    if (Object.hasOwn(rows, prefix)) return meaning(rows[prefix]!, undefined);
    if (!prefix.includes('/')) break;
  }
  return meaning([0, 0], undefined);
}

function meaning([type, attachType, flags]: Row, attachTo: string | undefined): SectionMeaning {
  return { type, attachType, attachTo, flags: flags ?? 0 };
}
