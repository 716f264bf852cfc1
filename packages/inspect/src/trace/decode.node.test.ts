import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { objects } from '@heddle/assets';
import { readObject } from '@heddle/ebpf';
import { kernelSurroundings } from '@heddle/ebpf/internal';
import { VirtualClock, VmHost } from '@heddle/vm';
import fc from 'fast-check';
import { objectTags, programTags } from '../dump/tags.ts';
import { decodeValue } from './decode.ts';

const spec = readObject(objects('socket'));
const typeOf = (map: string, part: 'keyTypeId' | 'valueTypeId') => spec.maps.get(map)![part];
const decode = (map: string, part: 'keyTypeId' | 'valueTypeId', bytes: Uint8Array) =>
  decodeValue(spec.btf!, typeOf(map, part), bytes);

describe('decodeValue', () => {
  it('decodeValue shows addresses, ports in host order, enums and bit fields by name', () => {
    const key = new Uint8Array(20);
    key.set([0xff, 0xff, 10, 96, 0, 1], 10);
    key.set([0x1f, 0x90, 6, 1], 16);
    assert.deepEqual(decode('services', 'keyTypeId', key), {
      ...{ address: '10.96.0.1', port: 8080, protocol: 6, scope: 'SCOPE_EXTERNAL' },
    });
    const backend = new Uint8Array(32);
    backend.set([0xfd, 0], 0);
    backend.set([0, 80, 17, 2, 7], 16);
    assert.deepEqual(decode('backends', 'valueTypeId', backend), {
      ...{ address: 'fd00::', port: 80, protocol: 17, state: 'BACKEND_DRAINING' },
      ...{ service: 7, generation: 0, weight: 0 },
    });
  });

  it('decodeValue shows several bits of an enum by all their names, and others as a number', () => {
    const roles = (value: number) =>
      decode('addresses', 'valueTypeId', Uint8Array.of(value, 0, 0, 0));
    assert.equal(roles(1), 'ADDRESS_SERVICE');
    assert.equal(roles(5), 'ADDRESS_SERVICE | ADDRESS_NODE');
    assert.equal(roles(0x41), 0x41);
    assert.equal(roles(0), 0);
  });

  it('decodeValue returns a JSON value for any bytes of any map', () => {
    const names = [...spec.maps.keys()].filter((name) => typeOf(name, 'valueTypeId') > 0);
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.uint8Array({ maxLength: 2000 }), (name, bytes) => {
        assert.equal(typeof JSON.stringify(decode(name, 'valueTypeId', bytes)), 'string');
      }),
    );
  });
});

describe('tags of programs', () => {
  const specs = ['socket', 'node', 'xdp'].map((name) => readObject(objects(name)));
  const connect = spec.programs.get('connect4')!;
  const addresses = { v4: '192.0.2.1', v6: '2001:db8::1' };
  let host: VmHost;
  before(() => {
    host = new VmHost({ base: new VirtualClock(), name: 'tags', addresses, cpus: 1 });
  });
  after(() => host[Symbol.dispose]());

  it('differ between all programs of an object on one kernel', () => {
    for (const each of specs) {
      const tags = objectTags(host.platform, each);
      assert.deepEqual(Object.keys(tags), [...each.programs.keys()]);
      const all = Object.values(tags).flat();
      assert.equal(new Set(all).size, each.programs.size * 2);
      for (const tag of all) assert.match(tag, /^[0-9a-f]{16}$/);
    }
  });

  it('tags of programs are known without a kernel for programs that do not depend on its types', () => {
    const known = specs.flatMap((each) => {
      const tags = objectTags(host.platform, each);
      return Array.from(each.programs.values(), (program) => {
        const isFixed = program.relocations.length === 0;
        const expected = isFixed ? tags[program.name] : undefined;
        assert.deepEqual(programTags(each, program), expected, program.name);
        return isFixed;
      });
    });
    assert.deepEqual(new Set(known), new Set([true, false]));
  });

  it('differ for another kernel, and are missing for programs that the kernel cannot load', () => {
    // In the object's own structures the fields have other offsets than in a kernel.
    const other = kernelSurroundings(host.bpf, () => 0, spec.btf!);
    const relocated = [...spec.programs.values()].filter(({ relocations }) => relocations.length);
    for (const program of relocated) {
      const kernel = kernelSurroundings(host.bpf, () => 0);
      const tags = programTags(spec, program, kernel);
      assert.notDeepEqual(programTags(spec, program, other), tags, program.name);
    }
    const references = [{ kind: 'kfunc', at: 0, name: 'no_such_function', weak: false }] as const;
    assert.equal(programTags(spec, { ...connect, references }, other), undefined);
  });

  it('depend on all instructions except map references', () => {
    const kernel = kernelSurroundings(host.bpf, () => 0);
    const elsewhere = kernelSurroundings(host.bpf, () => 77);
    const tags = programTags(spec, connect, kernel);
    const kinds = new Set(connect.references.map(({ kind }) => kind));
    assert.ok(kinds.has('map') && kinds.has('data'));
    assert.deepEqual(programTags(spec, connect, elsewhere), tags);
    const moved = connect.references.map((each) =>
      each.kind === 'data' ? { ...each, offset: each.offset + 8 } : each,
    );
    assert.deepEqual(programTags(spec, { ...connect, references: moved }, kernel), tags);
    const [first] = connect.references.filter(({ kind }) => kind === 'map');
    const instructions = connect.instructions.slice();
    instructions[first!.at * 8 + 17]! ^= 1;
    assert.notDeepEqual(programTags(spec, { ...connect, instructions }, kernel), tags);
  });
});
