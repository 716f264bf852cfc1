import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bpf, load, temporaryCgroup, withoutLeak } from '../testing/kernel.ts';
import { Btf } from './btf.ts';
import { objectIds, readBtfInfo, readProgramInfo } from './info.ts';
import { attachCgroup } from './links/cgroup.ts';

test('the info of a program has its maps and its BTF', () => {
  withoutLeak(() => {
    using object = load('connects', { programs: ['connect4'] });
    const info = readProgramInfo(bpf, object.program('connect4').fd);
    assert.deepEqual(
      [...info.mapIds].sort((a, b) => a - b),
      [...object.maps.values()].map((map) => map.info.id).sort((a, b) => a - b),
    );
    assert.equal(object.map('connects').info.btfId, info.btfId);
    const fd = bpf.openId('btf', info.btfId);
    try {
      const btf = readBtfInfo(bpf, fd);
      assert.equal(btf.id, info.btfId);
      assert.equal(btf.kernel, false);
      assert.equal(Btf.parse(btf.bytes).byName('connect4', 'func')?.name, 'connect4');
    } finally {
      bpf.close(fd);
    }
  });
});

test('the BTF of the kernel is listed', () => {
  const first = [...objectIds(bpf, 'btf')][0]!;
  const fd = bpf.openId('btf', first);
  try {
    const { name, kernel } = readBtfInfo(bpf, fd);
    assert.deepEqual({ name, kernel }, { name: 'vmlinux', kernel: true });
  } finally {
    bpf.close(fd);
  }
});

test('objectIds has the ids of existing objects only', () => {
  using cgroup = temporaryCgroup();
  const made = { map: 0, program: 0, link: 0 };
  {
    using object = load('connects', { programs: ['connect4'] });
    using link = attachCgroup(bpf, object.program('connect4'), cgroup);
    made.map = object.map('connects').info.id;
    made.program = object.program('connect4').info.id;
    made.link = link.info.id;
    for (const kind of ['map', 'program', 'link'] as const) {
      assert.ok([...objectIds(bpf, kind)].includes(made[kind]), kind);
    }
  }
  assert.ok(![...objectIds(bpf, 'link')].includes(made.link));
});
