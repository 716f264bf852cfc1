import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NotSupported } from '@heddle/sys';
import { bpf, load, longs, platform, u32, withoutLeak, words } from '../testing/kernel.ts';
import { VerifierError } from './errors.ts';
import { kernelBtf } from './kernel-btf.ts';
import type { LoadedObject } from './loaded-object.ts';
import { features } from './probes.ts';
import type { ObjectSpec, ProgramSpec } from './spec.ts';

const packet = new Uint8Array(64);

/** Returns a global variable of 8 bytes. */
function variable(object: LoadedObject, name: string): bigint {
  const { map, offset } = object.variables.get(name)!;
  return longs(
    object
      .map(map)
      .lookup(u32(0))!
      .slice(offset, offset + 8),
  )[0]!;
}

/** The object with one program changed. */
const changing =
  (name: string, changes: (program: ProgramSpec) => Partial<ProgramSpec>) =>
  (spec: ObjectSpec): ObjectSpec => {
    const program = spec.programs.get(name)!;
    const changed = { ...program, ...changes(program) };
    return { ...spec, programs: new Map([[name, changed]]) };
  };

/** init_net is data, which not every kernel lists in /proc/kallsyms; its code all do. */
const withKnownSymbol = (spec: ObjectSpec): ObjectSpec => ({
  ...spec,
  programs: new Map(
    [...spec.programs].map(([name, program]) => {
      const references = program.references.map((reference) =>
        reference.kind === 'ksym' && reference.name === 'init_net'
          ? { ...reference, name: '_stext' }
          : reference,
      );
      return [name, { ...program, references }];
    }),
  ),
});

describe('an object with all kinds of references', () => {
  test('a loaded object runs subprograms, a callback and a tail call', () => {
    withoutLeak(() => {
      using object = load('features', {}, withKnownSymbol);
      // first() adds 0+1+2+3, 2 * factor 3 and 2 + started 7, then jumps to second(), which
      // returns 2 * (7 * 3) + calls of the callback.
      const run = object.program('first').testRun({ data: packet });
      assert.equal(variable(object, 'total'), 6n + 6n + 9n);
      assert.equal(run.returnValue, 2 * 21 + 4);
      assert.equal(object.program('third').testRun({ data: packet }).returnValue, 2);
    });
  });

  test('maps have the elements that the source lists', () => {
    using object = load('features', {}, withKnownSymbol);
    const listed = [...object.map('outer').entries()].map(([, id]) => words(id)[0]);
    const id = (name: string) => object.map(name).info.id;
    assert.deepEqual(listed, [id('inner_a'), id('inner_b')]);
    assert.deepEqual(words(object.map('jumps').lookup(u32(1))), [object.program('second').info.id]);
  });

  test('the element of a program that is not loaded stays empty', () => {
    using object = load('features', { programs: ['first'] });
    assert.equal(object.map('jumps').lookup(u32(1)), undefined);
  });
});

describe('relocations against this kernel', () => {
  const programs = ['core', 'guarded'];

  test('the kernel accepts relocated programs with dead code for missing fields', () => {
    withoutLeak(() => {
      using object = load('core', { programs });
      assert.equal(object.program('guarded').testRun({ data: packet }).returnValue, 5);
    });
  });

  test('a program is relocated with the BTF of the caller', () => {
    using object = load('core', { programs, kernelBtf: kernelBtf(platform) });
    assert.equal(object.programs.size, 2);
  });

  test('an error names a missing field that the program uses', () => {
    withoutLeak(() =>
      assert.throws(
        () => load('core', { programs: ['unguarded'] }),
        (error) =>
          error instanceof VerifierError &&
          /^load program unguarded: it needs \w+ of struct heddle_absent_struct\.field, which this kernel lacks \(at "return absent->field; @ .*core\.bpf\.c:\d+"\)$/.test(
            error.message,
          ),
      ),
    );
  });

  // The program asks for bpf_sock_destroy's address before it makes the call.
  const skip =
    !features(bpf).has('kfunc/bpf_sock_destroy') &&
    'the kernel has no bpf_sock_destroy (Linux 6.5)';

  test('a weak kernel function that is called all the same is named', { skip }, () => {
    const untested = changing('list_tcp', ({ references }) => ({
      references: references.map((reference) =>
        reference.kind === 'kfunc' ? { ...reference, name: 'heddle_has_no_such' } : reference,
      ),
    }));
    assert.throws(
      () => load('sockets', {}, untested),
      /load program list_tcp: it needs kernel function heddle_has_no_such, which this kernel lacks/,
    );
  });
});

describe('a program that cannot be completed', () => {
  test('a program without its kernel function is NotSupported', () => {
    const strict = changing('list_tcp', ({ references }) => ({
      references: references.map((reference) =>
        reference.kind === 'kfunc' || reference.kind === 'ksym'
          ? { ...reference, name: 'heddle_has_no_such', weak: false }
          : reference,
      ),
    }));
    withoutLeak(() =>
      assert.throws(
        () => load('sockets', {}, strict),
        (error) =>
          error instanceof NotSupported &&
          /heddle_has_no_such \(called by program list_tcp\)/.test(error.message),
      ),
    );
  });

  test('a program without its target is NotSupported', () => {
    const elsewhere = changing('list_tcp', () => ({
      section: 'iter/heddle',
      attachTo: 'heddle',
    }));
    withoutLeak(() =>
      assert.throws(
        () => load('sockets', {}, elsewhere),
        (error) => error instanceof NotSupported && /iter\/heddle/.test(error.message),
      ),
    );
  });

  test('a program in an unknown section is refused', () => {
    const unknown = changing('third', () => ({ section: 'mystery', type: 0 }));
    assert.throws(
      () => load('features', {}, unknown),
      /load program third: no type of program has a section mystery/,
    );
  });

  test('a program whose section starts with a question mark is loaded only by name', () => {
    const optional = changing('third', () => ({ section: '?xdp.frags' }));
    using none = load('features', {}, optional);
    assert.equal(none.programs.size, 0);
    const known = (spec: ObjectSpec) => optional(withKnownSymbol(spec));
    using one = load('features', { programs: ['third'] }, known);
    assert.equal(one.programs.size, 1);
  });
});
