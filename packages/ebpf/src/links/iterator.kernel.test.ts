import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  bpf,
  inNewNamespace,
  load,
  longs,
  temporaryCgroup,
  u32,
  withoutLeak,
  words,
} from '../../testing/kernel.ts';
import { TestSocket } from '../../testing/sockets.ts';
import type { LoadedObject } from '../loaded-object.ts';
import { setVariable } from '../object-spec.ts';
import { features } from '../probes.ts';
import { attachCgroup } from './cgroup.ts';
import { attachIterator, readIterator } from './iterator.ts';

const skip =
  !features(bpf).has('kfunc/bpf_sock_destroy') && 'the kernel has no bpf_sock_destroy (Linux 6.5)';

const refused = (target: 'bpf_map_elem' | 'bpf_sk_storage_map') =>
  !features(bpf).has(`iter/${target}`) && `the kernel refuses iterators over ${target}`;

const withVictim = (port: number): LoadedObject =>
  load('sockets', { programs: ['list_tcp', 'list_udp'] }, (spec) =>
    setVariable(spec, 'victim_port', new Uint8Array(new Uint16Array([port]).buffer)),
  );

/** Local ports of what a socket iterator lists. */
function ports(object: LoadedObject, name: string): number[] {
  using link = attachIterator(bpf, object.program(name));
  const fields = new Uint16Array(readIterator(bpf, link).slice().buffer);
  return [...fields].filter((_, i) => i % 2 === 0);
}

describe('an iterator', () => {
  test('an iterator over TCP sockets lists those of the own namespace', () => {
    withoutLeak(() =>
      inNewNamespace(() => {
        using server = new TestSocket('tcp');
        using client = new TestSocket('tcp');
        const port = server.bind(true);
        assert.equal(client.connect(port), 'ok');
        using harmless = withVictim(0);
        // The client, and the listener and the other end of the connection, which share a port.
        const listed = ports(harmless, 'list_tcp');
        assert.equal(listed.length, 3);
        assert.equal(listed.filter((listedPort) => listedPort === port).length, 2);
      }),
    );
  });

  test('an iterator over TCP sockets destroys one', { skip }, () => {
    withoutLeak(() =>
      inNewNamespace(() => {
        using server = new TestSocket('tcp');
        using client = new TestSocket('tcp');
        const port = server.bind(true);
        assert.equal(client.connect(port), 'ok');
        using object = withVictim(port);
        ports(object, 'list_tcp');
        assert.equal(client.receive(), 'ECONNRESET');
        using second = new TestSocket('tcp');
        assert.equal(second.connect(port), 'ECONNREFUSED');
      }),
    );
  });

  test('an iterator over UDP sockets destroys one, whose owner gets ECONNABORTED', { skip }, () => {
    withoutLeak(() =>
      inNewNamespace(() => {
        using server = new TestSocket('udp');
        using client = new TestSocket('udp');
        const port = server.bind(false);
        assert.equal(client.connect(port), 'ok');
        assert.equal(client.send(), 'ok');
        assert.equal(server.receive(), 'ok');
        using object = withVictim(port);
        assert.ok(ports(object, 'list_udp').includes(port));
        assert.equal(server.receive(), 'ECONNABORTED');
        assert.equal(client.send(), 'ok');
        assert.equal(client.receive(), 'ECONNREFUSED');
      }),
    );
  });

  test('an iterator over the elements of a map runs at each read', {
    skip: refused('bpf_map_elem'),
  }, () => {
    withoutLeak(() => {
      using object = load('sockets', { programs: ['list_numbers'] });
      const numbers = object.map('numbers');
      numbers.update(u32(1), u32(10));
      numbers.update(u32(2), u32(20));
      using link = attachIterator(bpf, object.program('list_numbers'), { map: numbers });
      const read = () => {
        const values = words(readIterator(bpf, link));
        return values.filter((_, i) => i % 2 === 1).sort((a, b) => a - b);
      };
      assert.deepEqual(read(), [10, 20]);
      numbers.delete(u32(1));
      assert.deepEqual(read(), [20]);
      const { info } = link;
      assert.ok(info.kind === 'iter');
      assert.deepEqual([info.target, info.mapId], ['bpf_map_elem', numbers.info.id]);
    });
  });

  test('an iterator lists the storage of sockets', { skip: refused('bpf_sk_storage_map') }, () => {
    using cgroup = temporaryCgroup();
    withoutLeak(() => {
      using object = load('sockets', { programs: ['list_storage', 'keep_storage'] });
      using _hook = attachCgroup(bpf, object.program('keep_storage'), cgroup);
      cgroup.enter(() => {
        using _one = new TestSocket('udp');
        using _two = new TestSocket('tcp');
        using link = attachIterator(bpf, object.program('list_storage'), {
          map: object.map('storage'),
        });
        assert.deepEqual(longs(readIterator(bpf, link)), [42n, 42n]);
      });
    });
  });

  test('an iterator over elements without a map is refused', {
    skip: refused('bpf_map_elem'),
  }, () => {
    using object = load('sockets', { programs: ['list_numbers'] });
    assert.throws(
      () => attachIterator(bpf, object.program('list_numbers')),
      /attach program list_numbers to iterator: E/,
    );
  });

  test('a probe finds exactly the iterators that the kernel loads', () => {
    for (const [name, target] of [
      ['list_numbers', 'bpf_map_elem'],
      ['list_storage', 'bpf_sk_storage_map'],
    ] as const) {
      const loads = () => load('sockets', { programs: [name] })[Symbol.dispose]();
      if (features(bpf).has(`iter/${target}`)) loads();
      else assert.throws(loads, { code: 'EPERM' });
    }
  });

  test('a call of a missing kernel function is dead code', () => {
    assert.equal(features(bpf).has('kfunc/bpf_no_such_kfunc'), false);
    using object = load('sockets', { programs: ['list_udp'] });
    assert.ok(object.program('list_udp').info.verifiedInstructions > 0);
  });
});
