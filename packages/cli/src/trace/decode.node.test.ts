import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readObject } from '@heddle/ebpf';
import fc from 'fast-check';
import { objects } from '../assets.ts';
import { decodeValue } from './decode.ts';
import { programTags } from './tags.ts';

const spec = readObject(objects('socket'));
const typeOf = (map: string, part: 'keyTypeId' | 'valueTypeId') => spec.maps.get(map)![part];
const decode = (map: string, part: 'keyTypeId' | 'valueTypeId', bytes: Uint8Array) =>
  decodeValue(spec.btf!, typeOf(map, part), bytes);

describe('values by their BTF', () => {
  it('shows addresses, ports in host order, enums and bit fields by name', () => {
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

  it('shows several bits of an enum by all their names, and others as a number', () => {
    const roles = (value: number) =>
      decode('addresses', 'valueTypeId', Uint8Array.of(value, 0, 0, 0));
    assert.equal(roles(1), 'ADDRESS_SERVICE');
    assert.equal(roles(5), 'ADDRESS_SERVICE | ADDRESS_NODE');
    assert.equal(roles(0x41), 0x41);
    assert.equal(roles(0), 0);
  });

  it('gives something for JSON for any bytes of any map', () => {
    const names = [...spec.maps.keys()].filter((name) => typeOf(name, 'valueTypeId') > 0);
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.uint8Array({ maxLength: 2000 }), (name, bytes) => {
        assert.equal(typeof JSON.stringify(decode(name, 'valueTypeId', bytes)), 'string');
      }),
    );
  });
});

describe('tags of programs', () => {
  it('tells programs apart, and leaves out where maps are', () => {
    const tags = Array.from(spec.programs.values(), (program) => programTags(program)![0]!);
    assert.equal(new Set(tags).size, tags.length);
    for (const tag of tags) assert.match(tag, /^[0-9a-f]{16}$/);
    const connect = spec.programs.get('connect4')!;
    const [first] = connect.references.filter(({ kind }) => kind === 'map');
    const instructions = connect.instructions.slice();
    instructions[first!.at * 8 + 4] = 77;
    assert.deepEqual(programTags({ ...connect, instructions }), programTags(connect));
    instructions[first!.at * 8 + 17]! ^= 1;
    assert.notDeepEqual(programTags({ ...connect, instructions }), programTags(connect));
  });
});
