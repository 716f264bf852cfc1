import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeFd } from '@heddle/sys';
import { loadClassifier, platform, sandbox } from '../testing/kernel.ts';
import { createVeth, deleteLink } from './links.ts';
import { addQdisc, listQdiscs, removeQdisc, TC_H_INGRESS, TC_H_ROOT } from './qdiscs.ts';
import {
  attachFilter,
  type FilterPlace,
  filterProgram,
  hasFilter,
  linksOfBlocks,
  removeFilter,
  useBlocks,
} from './traffic-control.ts';

const TCA_TBF_PARMS = 1;

function withLink() {
  const here = sandbox();
  return {
    ...here,
    link: createVeth(here.socket, { name: 'a', up: true }, { name: 'b' }).link.index,
  };
}

test('qdiscs with and without options are added, listed and removed', () => {
  using here = withLink();
  const { socket, link } = here;
  const kinds = () => listQdiscs(socket, link).filter(({ kind }) => kind !== 'noqueue');
  addQdisc(socket, { link, kind: 'clsact' });
  addQdisc(socket, { link, kind: 'tbf', handle: 0x10000, options: writeTbf });
  assert.deepEqual(
    kinds().sort((a, b) => a.kind.localeCompare(b.kind)),
    [
      { link, kind: 'clsact', handle: 0xffff0000, parent: TC_H_INGRESS, blocks: {} },
      { link, kind: 'tbf', handle: 0x10000, parent: TC_H_ROOT, blocks: {} },
    ],
  );
  assert.throws(() => addQdisc(socket, { link, kind: 'clsact' }), { code: 'EEXIST' });
  for (const kind of ['clsact', 'tbf']) {
    assert.equal(removeQdisc(socket, { link, kind }), true, kind);
    assert.equal(removeQdisc(socket, { link, kind }), false, kind);
  }
  assert.deepEqual(kinds(), []);
});

/** 1 MB/s with a burst of 10 kB: struct tc_tbf_qopt of linux/pkt_sched.h. */
function writeTbf(writer: { bytes(type: number, payload: Uint8Array): unknown }): void {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  // struct tc_ratespec: cell log u8, link layer u8 (1: Ethernet), overhead u16, cell align s16,
  // mpu u16, rate u32 in bytes per second; then peakrate, limit u32, buffer u32 in ticks, mtu u32.
  view.setUint8(1, 1);
  view.setUint32(8, 1_000_000, true);
  view.setUint32(24, 100_000, true);
  view.setUint32(28, 150_000, true);
  writer.bytes(TCA_TBF_PARMS, bytes);
}

test('a filter is found by its link, direction, priority and handle only', () => {
  using here = withLink();
  const { socket, link } = here;
  const place: FilterPlace = { link, direction: 'ingress', priority: 7, handle: 0x1234 };
  const others: FilterPlace[] = [
    { ...place, direction: 'egress' },
    { ...place, priority: 8 },
    { ...place, handle: 0x1235 },
  ];
  assert.equal(hasFilter(socket, place), false);
  assert.equal(removeFilter(socket, place), false);
  const program = loadClassifier();
  try {
    attachFilter(socket, { ...place, program, name: 'one' });
    // A second time replaces the program.
    attachFilter(socket, { ...place, program, name: 'two' });
  } finally {
    closeFd(platform, program);
  }
  assert.equal(hasFilter(socket, place), true);
  for (const other of others) {
    assert.equal(hasFilter(socket, other), false, JSON.stringify(other));
    assert.equal(removeFilter(socket, other), false, JSON.stringify(other));
  }
  assert.equal(hasFilter(socket, place), true);
  assert.equal(removeFilter(socket, place), true);
  assert.equal(hasFilter(socket, place), false);
  const gone = { ...place, link: 4711 };
  assert.equal(hasFilter(socket, gone), false);
  assert.equal(removeFilter(socket, gone), false);
});

test('links share a block of filters, which ends with the last of them', () => {
  using here = withLink();
  const { socket, link } = here;
  const second = createVeth(socket, { name: 'c', up: true }, { name: 'd' }).link.index;
  const [block, egress] = [0x68656464, 0x68656465];
  const blocks = { ingress: block, egress };
  const place: FilterPlace = { block, priority: 7, handle: 0x1234 };
  assert.equal(filterProgram(socket, place), undefined);
  addQdisc(socket, { link: second, kind: 'clsact' });
  for (const each of [link, second, second]) useBlocks(socket, each, blocks);
  assert.deepEqual(linksOfBlocks(socket, blocks), new Set([link, second]));
  const attach = (name: string) => {
    const program = loadClassifier();
    attachFilter(socket, { ...place, program, name });
    closeFd(platform, program);
    return filterProgram(socket, place);
  };
  const [one, two] = [attach('one'), attach('two')];
  assert.ok(one !== undefined && one > 0);
  assert.ok(two !== undefined && two > one, 'the second program replaces the first');
  const program = loadClassifier();
  try {
    const own = { link, direction: 'egress', priority: 8, handle: 1 } as const;
    assert.throws(() => attachFilter(socket, { ...own, program, name: 'own' }), {
      code: 'EOPNOTSUPP',
    });
    assert.equal(hasFilter(socket, own), false);
    assert.equal(removeFilter(socket, own), false);
  } finally {
    closeFd(platform, program);
  }
  removeQdisc(socket, { link, kind: 'clsact' });
  assert.deepEqual(linksOfBlocks(socket, blocks), new Set([second]));
  assert.equal(filterProgram(socket, place), two);
  deleteLink(socket, second);
  assert.equal(filterProgram(socket, place), undefined);
});
