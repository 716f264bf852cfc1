import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseMounts } from './machine.ts';

const text = `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 22 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw
32 22 0:28 /some\\040where /mnt/with\\040blank\\134back rw - bpf none rw,mode=700
broken line
`;

describe('parseMounts', () => {
  it('reads root, path and type, with any number of optional fields', () => {
    assert.deepEqual(parseMounts(text), [
      { root: '/', path: '/', type: 'ext4' },
      { root: '/', path: '/sys/fs/cgroup/unified', type: 'cgroup2' },
      { root: '/some where', path: '/mnt/with blank\\back', type: 'bpf' },
    ]);
  });

  it('skips lines of another form', () => {
    fc.assert(
      fc.property(fc.string(), (junk) => void parseMounts(junk)),
      { numRuns: 200 },
    );
    assert.deepEqual(parseMounts('1 2 3\n - \n'), []);
  });
});
