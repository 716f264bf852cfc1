import { Btf } from '@heddle/ebpf';
import { BtfKind } from '@heddle/ebpf/internal';
import { encodeUtf8 } from '@heddle/sys';

/** A member: offset in bytes, and a type by name, with `*` before it for a pointer. */
type Members = Readonly<Record<string, readonly [offset: number, type: string]>>;

/** Sizes and members of the kernel structs that Heddle's programs read. The kernel has other offsets. */
const structs: Readonly<Record<string, readonly [size: number, members: Members]>> = {
  ns_common: [8, { inum: [0, 'unsigned int'] }],
  list_head: [16, { next: [0, '*list_head'], prev: [8, '*list_head'] }],
  net: [24, { ns: [0, 'ns_common'], dev_base_head: [8, 'list_head'] }],
  // Here skc_ipv6only is a byte and no bit field, which CO-RE handles.
  sock_common: [
    40,
    {
      skc_net: [0, 'possible_net_t'],
      skc_ipv6only: [8, 'unsigned char'],
      skc_state: [9, 'unsigned char'],
      skc_family: [10, 'unsigned short'],
      skc_dport: [12, 'unsigned short'],
      skc_daddr: [16, 'unsigned int'],
      skc_v6_daddr: [20, 'in6_addr'],
    },
  ],
  // It lies behind the struct bpf_sock of the socket; see socket.ts.
  sock: [128, { __sk_common: [80, 'sock_common'], sk_protocol: [120, 'unsigned short'] }],
  bpf_sock_addr_kern: [72, { sk: [64, '*sock'] }],
  net_device: [
    40,
    {
      dev_list: [0, 'list_head'],
      flags: [16, 'unsigned int'],
      ip_ptr: [24, '*in_device'],
      ip6_ptr: [32, '*inet6_dev'],
    },
  ],
  in_device: [8, { ifa_list: [0, '*in_ifaddr'] }],
  in_ifaddr: [
    16,
    {
      ifa_next: [0, '*in_ifaddr'],
      ifa_local: [8, 'unsigned int'],
      ifa_scope: [12, 'unsigned char'],
    },
  ],
  inet6_dev: [16, { addr_list: [0, 'list_head'] }],
  in6_addr: [16, {}],
  inet6_ifaddr: [
    40,
    { addr: [0, 'in6_addr'], scope: [16, 'unsigned short'], if_list: [24, 'list_head'] },
  ],
  bpf_iter_meta: [8, { seq: [0, '*void'] }],
  bpf_iter__bpf_sk_storage_map: [
    32,
    { meta: [0, '*bpf_iter_meta'], map: [8, '*void'], sk: [16, '*sock'], value: [24, '*void'] },
  ],
  bpf_iter__udp: [16, { meta: [0, '*bpf_iter_meta'], udp_sk: [8, '*void'] }],
  bpf_iter__tcp: [16, { meta: [0, '*bpf_iter_meta'], sk_common: [8, '*sock_common'] }],
};

/** Typedefs of structs without a name. */
const typedefs: Readonly<Record<string, readonly [size: number, members: Members]>> = {
  possible_net_t: [8, { net: [0, '*net'] }],
  btf_trace_inet_sock_set_state: [8, {}],
};

/** Targets of iterators: `bpf_iter_NAME`. */
export const iteratorTargets = ['bpf_sk_storage_map', 'udp', 'tcp'] as const;
export type IteratorTarget = (typeof iteratorTargets)[number];

const integers = { 'unsigned int': 4, 'unsigned short': 2, 'unsigned char': 1 } as const;

/** Returns the offset of a struct's member in the simulated kernel. */
export function offsetOf(struct: string, member: string): number {
  return structs[struct]![1][member]![0];
}

/** Returns the size of a struct of the simulated kernel. */
export function sizeOf(struct: string): number {
  return structs[struct]![0];
}

/** Returns the BTF of the simulated kernel (Documentation/bpf/btf.rst): structs, iterators, kernel functions. */
export function simulatedKernelBtf(functions: readonly string[]): Btf {
  const strings: number[] = [0];
  const text = (name: string) => {
    const at = strings.length;
    strings.push(...encodeUtf8(name), 0);
    return at;
  };
  const ids = new Map<string, number>([['void', 0]]);
  const records: (() => number[])[] = [];
  // Types refer to each other, so all ids are assigned before the types are written.
  const declare = (name: string, record: () => number[]) => {
    ids.set(name, records.push(record));
  };
  const info = (kind: keyof typeof BtfKind, count = 0) => (BtfKind[kind] << 24) | count;
  const composite = (name: string, [size, members]: readonly [number, Members]) => {
    const fields = Object.entries(members);
    return [
      name === '' ? 0 : text(name),
      info('struct', fields.length),
      size,
      ...fields.flatMap(([field, [offset, type]]) => [text(field), ids.get(type)!, offset * 8]),
    ];
  };
  for (const [name, size] of Object.entries(integers)) {
    declare(name, () => [text(name), info('int'), size, size * 8]);
  }
  for (const [name, shape] of Object.entries(structs)) declare(name, () => composite(name, shape));
  for (const [name, shape] of Object.entries(typedefs)) {
    declare(`${name} struct`, () => composite('', shape));
    declare(name, () => [text(name), info('typedef'), ids.get(`${name} struct`)!]);
  }
  const all = [...Object.values(structs), ...Object.values(typedefs)];
  const pointed = new Set(
    all
      .flatMap(([, members]) => Object.values(members).map(([, type]) => type))
      .filter((type) => type.startsWith('*')),
  );
  for (const type of pointed) declare(type, () => [0, info('ptr'), ids.get(type.slice(1))!]);
  declare('()', () => [0, info('func_proto'), 0]);
  const names = [...functions, ...iteratorTargets.map((target) => `bpf_iter_${target}`)];
  for (const name of names) declare(name, () => [text(name), info('func'), ids.get('()')!]);

  const words = records.flatMap((record) => record());
  const length = words.length * 4;
  const bytes = new Uint8Array(24 + length + strings.length);
  const view = new DataView(bytes.buffer);
  [0x0001eb9f, 24, 0, length, length, strings.length, ...words].forEach((word, i) => {
    view.setUint32(4 * i, word, true);
  });
  bytes.set(strings, 24 + length);
  return Btf.parse(bytes);
}
