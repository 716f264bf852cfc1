import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isOlder, lackingCapabilities } from './preflight.ts';

describe('isOlder', () => {
  for (const [release, older] of [
    ['5.10.0-28-amd64', true],
    ['6.0.19', true],
    ['6.1.0-18-amd64', false],
    ['6.18.44', false],
    ['10.0', false],
    ['something else', false],
  ] as const) {
    it(`says ${older} for ${release}`, () => assert.equal(isOlder(release, [6, 1]), older));
  }
});

describe('lackingCapabilities', () => {
  const [netAdmin, sysAdmin, perfmon, bpf] = [1n << 12n, 1n << 21n, 1n << 38n, 1n << 39n];

  it('finds no missing capability in the full set and in the smallest one', () => {
    assert.deepEqual(lackingCapabilities((1n << 41n) - 1n), []);
    assert.deepEqual(lackingCapabilities(netAdmin | perfmon | bpf), []);
  });

  it('accepts CAP_SYS_ADMIN for the two capabilities that it includes', () => {
    assert.deepEqual(lackingCapabilities(netAdmin | sysAdmin), []);
    assert.deepEqual(lackingCapabilities(sysAdmin), ['CAP_NET_ADMIN']);
  });

  it('names the missing capabilities', () => {
    assert.deepEqual(lackingCapabilities(0n), ['CAP_BPF', 'CAP_PERFMON', 'CAP_NET_ADMIN']);
    assert.deepEqual(lackingCapabilities(netAdmin), ['CAP_BPF', 'CAP_PERFMON']);
    assert.deepEqual(lackingCapabilities(netAdmin | bpf), ['CAP_PERFMON']);
  });
});
