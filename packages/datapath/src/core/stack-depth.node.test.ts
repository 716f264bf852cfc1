import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readObject } from '@heddle/ebpf';
import { objects } from '../../testing/objects.ts';
import { stackDepth } from '../../testing/stack-depth.ts';

/** The bytes of stack that the deepest chain of calls may need. The kernel has 512; some are left for steps to come. */
const limits: Readonly<Record<string, number>> = { from_pod: 480, to_pod: 480 };
const otherLimit = 448;

for (const name of ['node', 'xdp', 'pod', 'socket', 'stale']) {
  test(`programs of ${name} leave stack for the steps to come`, () => {
    const spec = readObject(objects(name));
    assert.ok(spec.programs.size > 0);
    for (const [program, code] of spec.programs) {
      const { bytes, chain } = stackDepth(code);
      assert.ok(
        bytes <= (limits[program] ?? otherLimit),
        `${program} needs ${bytes} bytes: frames of ${chain.map(({ frame }) => frame).join(', ')}`,
      );
    }
  });
}

test('the depth of node_ingress is that of its longest chain of calls', () => {
  const { bytes, chain } = stackDepth(readObject(objects('node')).programs.get('node_ingress')!);
  assert.ok(chain.length > 3, `${chain.length} functions`);
  assert.ok(chain[0]!.frame > 100, `${chain[0]!.frame} bytes`);
  assert.equal(
    bytes,
    chain.reduce((sum, { frame }) => sum + Math.ceil(Math.max(frame, 1) / 32) * 32, 0),
  );
});
