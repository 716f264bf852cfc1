import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { errno, SysError } from '@heddle/sys';
import { fixture } from '../testing/fixture.ts';
import { bpf, load, longs, temporaryBpffs, u32, withoutLeak, wrapped } from '../testing/kernel.ts';
import { VerifierError } from './errors.ts';
import { objectIds } from './info.ts';
import { BpfMap } from './map.ts';
import { readObject, setVariable } from './object-spec.ts';
import { BpfProgram } from './program.ts';
import { mapTypes, programTypes } from './uapi.ts';

const XDP_DROP = 1;
const XDP_PASS = 2;
const XDP_TX = 3;

/** Ethernet addresses and payload with different bytes. */
const packet = Uint8Array.from({ length: 64 }, (_, i) => i);

/** r0 = `value`; exit */
const returning = (value: number) =>
  new Uint8Array([0xb7, 0, 0, 0, value, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);

describe('a program', () => {
  test('a program loads from instructions', () => {
    withoutLeak(() => {
      using program = BpfProgram.load(bpf, {
        name: 'by-hand.instructions',
        type: programTypes.xdp,
        instructions: returning(XDP_DROP),
        license: 'GPL',
      });
      assert.equal(program.testRun({ data: packet }).returnValue, XDP_DROP);
      assert.equal(program.info.name, 'by_hand.instruc');
      assert.equal(program.info.type, programTypes.xdp);
      assert.match(program.info.tag, /^[0-9a-f]{16}$/);
    });
  });

  test('a program is opened by id and by pin', () => {
    using bpffs = temporaryBpffs();
    withoutLeak(() => {
      using object = load('packets', { programs: ['xdp_count'] });
      const program = object.program('xdp_count');
      program.pin(`${bpffs.path}/xdp`);
      using pinned = BpfProgram.openPinned(bpf, `${bpffs.path}/xdp`);
      using byId = BpfProgram.fromId(bpf, program.info.id);
      assert.deepEqual(pinned.info, program.info);
      assert.deepEqual(byId.info, program.info);
      assert.equal(pinned.name, 'xdp_count');
      assert.ok([...objectIds(bpf, 'program')].includes(program.info.id));
      const used = ['.bss', '.rodata', 'per_cpu'].map((name) => object.map(name).info.id);
      assert.deepEqual([...program.info.mapIds].sort(), used.sort());
    });
  });
});

describe('a test run', () => {
  test('a test run returns the verdict, the packet and the duration', () => {
    using object = load('packets', { programs: ['xdp_turn'] });
    const run = object.program('xdp_turn').testRun({ data: packet, repeat: 100 });
    assert.equal(run.returnValue, XDP_TX);
    assert.ok(run.durationNs < 1e6);
    const once = object.program('xdp_turn').testRun({ data: packet });
    assert.equal(once.data.length, 62);
    assert.deepEqual([...once.data.subarray(0, 6)], [6, 7, 8, 9, 10, 11]);
    assert.deepEqual([...once.data.subarray(6, 12)], [0, 1, 2, 3, 4, 5]);
  });

  test('a test run takes and returns a context', () => {
    using object = load('packets', { programs: ['tc_count'] });
    // struct __sk_buff; the mark is its third word.
    const context = new Uint8Array(192);
    const run = object.program('tc_count').testRun({ data: packet, context });
    assert.equal(run.returnValue | 0, -1);
    assert.equal(new DataView(run.context.buffer).getUint32(8, true), 7);
    assert.deepEqual(longs(object.map('.bss').lookup(u32(0))!.subarray(0, 24)).filter(Boolean), [
      1n,
    ]);
  });

  test('a test run is refused for a type of program without one', () => {
    using object = load('connects', { programs: ['connect4'] });
    assert.throws(
      () => object.program('connect4').testRun({ context: new Uint8Array(72) }),
      /test-run program connect4: its type has no test run \(ENOTSUPP\)/,
    );
  });
});

describe('constants', () => {
  test('constants that are set before loading are used, and then frozen', () => {
    const verdict = (value: number) =>
      load('packets', { programs: ['xdp_count'] }, (spec) =>
        setVariable(spec, 'verdict', u32(value)),
      );
    using passing = verdict(XDP_PASS);
    using dropping = verdict(XDP_DROP);
    assert.equal(passing.program('xdp_count').testRun({ data: packet }).returnValue, XDP_PASS);
    assert.equal(dropping.program('xdp_count').testRun({ data: packet }).returnValue, XDP_DROP);
    assert.throws(() => dropping.map('.rodata').update(u32(0), u32(XDP_PASS)), SysError);
  });
});

describe('a program that the verifier refuses', () => {
  for (const name of ['unchecked', 'late']) {
    test(`${name}: the message has the reason and the source line, the log all of it`, () => {
      withoutLeak(() => {
        assert.throws(
          () => load('broken', { programs: [name] }),
          (error) => {
            assert.ok(error instanceof VerifierError);
            assert.match(
              error.message,
              /^load program \w+: R\d invalid mem access 'map_value_or_null' \(at "\*value = \w+;/,
            );
            assert.equal(error.code, 'EACCES');
            assert.match(error.log, /^0: R1=ctx/m);
            assert.match(error.log, /processed \d+ insns/);
            if (name === 'late') assert.ok(error.log.length > 1_000_000);
            return true;
          },
        );
      });
    });
  }

  test('a lack of descriptors or memory is a SysError and no VerifierError', () => {
    for (const code of ['EMFILE', 'ENFILE', 'ENOMEM'] as const) {
      let loads = 0;
      const full = wrapped(bpf, 'programLoad', () => {
        loads++;
        throw new SysError('bpf', errno[code], 'load program x');
      });
      const options = { name: 'x', type: programTypes.xdp, license: 'GPL' };
      assert.throws(
        () => BpfProgram.load(full, { ...options, instructions: returning(XDP_PASS) }),
        (error) => error instanceof SysError && error.code === code,
      );
      assert.equal(loads, 1);
    }
  });

  test('a refusal before the verifier runs is a SysError', () => {
    assert.throws(
      () =>
        BpfProgram.load(bpf, {
          name: 'none',
          type: 999,
          instructions: returning(0),
          license: 'GPL',
        }),
      /load program none: invalid argument \(EINVAL\)/,
    );
  });
});

describe('an object', () => {
  test('an object uses maps of the caller and leaves them open', () => {
    withoutLeak(() => {
      using first = load('connects', { programs: [] });
      const reused = first.map('connects');
      {
        using second = load('connects', { maps: { connects: reused } });
        assert.equal(second.map('connects'), reused);
        assert.ok(second.program('connect4').info.mapIds.includes(reused.info.id));
      }
      reused.update(new Uint8Array(2), new Uint8Array(8));
    });
  });

  test('an error for an unknown map or program names those that exist', () => {
    using object = load('connects', { programs: [] });
    assert.throws(
      () => object.map('none'),
      /^Error: find map none: the object has no such map \(it has .*connects.*\)$/,
    );
    assert.throws(() => object.program('connect4'), /find program connect4: .* \(it has none\)$/);
    withoutLeak(() =>
      assert.throws(
        () => load('connects', { programs: ['none'] }),
        /^Error: load program none: the object has no such program \(it has connect4, /,
      ),
    );
  });

  test('loadObject refuses an unknown map and one with other properties', () => {
    withoutLeak(() => {
      const { type, keySize, valueSize, maxEntries } = readObject(fixture('connects.o')).maps.get(
        'connects',
      )!;
      using same = BpfMap.create(bpf, { type, keySize, valueSize, maxEntries });
      load('connects', { programs: [], maps: { connects: same } })[Symbol.dispose]();
      assert.throws(
        () => load('connects', { programs: [], maps: { conects: same } }),
        /^Error: load map conects: the object has no such map \(it has .*connects.*\)$/,
      );
      using other = BpfMap.create(bpf, {
        ...{ type: mapTypes.lru_hash, keySize: 8, valueSize: 4 },
        maxEntries: maxEntries + 1,
      });
      assert.throws(() => load('connects', { programs: [], maps: { connects: other } }), {
        name: 'Incompatible',
        message:
          'reuse map connects: type is lru_hash, wanted hash; key size is 8, wanted 2; ' +
          `value size is 4, wanted 8; maximum of entries is ${maxEntries + 1}, wanted ${maxEntries}`,
      });
    });
  });
});
