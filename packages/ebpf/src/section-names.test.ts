import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sectionMeaning } from './section-names.ts';

const meaning = (section: string) => {
  const { type, attachType, attachTo, flags } = sectionMeaning(section);
  return [type, attachType, attachTo, flags];
};

test('section names of cgroup hooks', () => {
  const socketAddress = {
    bind4: 8,
    bind6: 9,
    connect4: 10,
    connect6: 11,
    sendmsg4: 14,
    sendmsg6: 15,
    recvmsg4: 19,
    recvmsg6: 20,
    getpeername4: 29,
    getpeername6: 30,
    getsockname4: 31,
    getsockname6: 32,
  };
  for (const [name, attachType] of Object.entries(socketAddress)) {
    assert.deepEqual(meaning(`cgroup/${name}`), [18, attachType, undefined, 0]);
  }
  const socket = { sock_create: 2, sock: 2, post_bind4: 12, post_bind6: 13, sock_release: 34 };
  for (const [name, attachType] of Object.entries(socket)) {
    assert.deepEqual(meaning(`cgroup/${name}`), [9, attachType, undefined, 0]);
  }
  assert.deepEqual(meaning('cgroup_skb/ingress'), [8, 0, undefined, 0]);
  assert.deepEqual(meaning('cgroup_skb/egress'), [8, 1, undefined, 0]);
  assert.deepEqual(meaning('sockops'), [13, 3, undefined, 0]);
  assert.deepEqual(meaning('sk_lookup'), [30, 36, undefined, 0]);
});

test('section names of tc, tcx and xdp', () => {
  assert.deepEqual(meaning('tc'), [3, 0, undefined, 0]);
  assert.deepEqual(meaning('tcx/ingress'), [3, 46, undefined, 0]);
  assert.deepEqual(meaning('tcx/egress'), [3, 47, undefined, 0]);
  assert.deepEqual(meaning('netkit/primary'), [3, 54, undefined, 0]);
  assert.deepEqual(meaning('netkit/peer'), [3, 55, undefined, 0]);
  assert.deepEqual(meaning('xdp'), [6, 37, undefined, 0]);
  assert.deepEqual(meaning('xdp.frags'), [6, 37, undefined, 32]);
  assert.deepEqual(meaning('xdp/cpumap'), [6, 35, undefined, 0]);
});

test('section names with targets', () => {
  assert.deepEqual(meaning('iter/bpf_map_elem'), [26, 28, 'bpf_map_elem', 0]);
  assert.deepEqual(meaning('iter.s/task'), [26, 28, 'task', 16]);
  assert.deepEqual(meaning('raw_tp/sched_switch'), [17, 0, 'sched_switch', 0]);
  assert.deepEqual(meaning('tp/syscalls/sys_enter_open'), [5, 0, 'syscalls/sys_enter_open', 0]);
  assert.deepEqual(meaning('tp_btf/tcp_retransmit_skb'), [26, 23, 'tcp_retransmit_skb', 0]);
  assert.deepEqual(meaning('struct_ops/init'), [27, 0, 'init', 0]);
  assert.deepEqual(meaning('fentry'), [26, 24, undefined, 0]);
});

test('words after the name of a section are ignored', () => {
  assert.deepEqual(meaning('tc/from_pod'), [3, 0, undefined, 0]);
  assert.deepEqual(meaning('cgroup/connect4/services'), [18, 10, undefined, 0]);
  assert.deepEqual(meaning('?xdp'), [6, 37, undefined, 0]);
});

test('unknown section names have no type', () => {
  for (const section of ['', '/', 'tcp', 'cgroup', 'cgroup/', 'toString', 'constructor/x', '?']) {
    assert.deepEqual(meaning(section), [0, 0, undefined, 0], section);
  }
});
