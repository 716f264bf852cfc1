import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownAddresses } from '@heddle/agent';
import { LinuxBpf } from '@heddle/ebpf';
import { eventually } from '@heddle/sys/testing/eventually';
import { FolderEditor } from '../testing/edits/folder-editor.ts';
import { HastyAgent } from '../testing/edits/hasty-agent.ts';
import { KernelView } from '../testing/edits/kernel-view.ts';
import { expectedLines } from '../testing/edits/oracle.ts';
import { Product } from '../testing/product.ts';
import { randomOf } from '../testing/random.ts';

const edits = 10_000;
const restartEvery = 1000;
const vanishEvery = 500;

test('10,000 edits: after each one the maps hold what the objects ask for', async () => {
  using agent = new HastyAgent();
  const { folder, deviceAddresses, view } = agent;
  const random = randomOf('edits');
  const editor = new FolderEditor(folder, random, { faults: true });
  for (let i = 1; i <= edits; i++) {
    if (i % vanishEvery === 0) await editor.vanish(random.below(60));
    if (i % restartEvery === 0) {
      // An agent that starts knows no earlier version of what can't be used.
      await editor.mend();
      assert.ok(await agent.caughtUp(editor));
      agent.restart(random);
    } else {
      await editor.edit();
    }
    const what = `edit ${i}: ${editor.lastEdit}`;
    if (!(await agent.caughtUp(editor))) {
      assert.fail(`${what} was not taken in: ${agent.differences(editor).join(', ')}`);
    }
    const expected = expectedLines([...editor.objects.values()], {
      nodeName: 'node1',
      deviceAddresses,
    });
    assert.deepEqual(view.lines(), expected, what);
  }
});

test('the same with an agent that is a process, and is killed now and then', async () => {
  using product = new Product('edited');
  const random = randomOf('process');
  const editor = new FolderEditor(product.folder, random, { faults: false });
  await product.start();
  using view = new KernelView(new LinuxBpf(product.platform), product.node.bpffs);
  const deviceAddresses = product.node.enter(() =>
    ownAddresses(product.platform).map(({ address }) => address),
  );
  for (let i = 1; i <= 50; i++) {
    await editor.edit();
    if (i % 12 === 0) {
      await product.kill();
      await editor.edit();
      product.launch();
    }
    const expected = expectedLines([...editor.objects.values()], {
      nodeName: 'node1',
      deviceAddresses,
    }).join('\n');
    const what = `the kernel holds the rows of edit ${i}: ${editor.lastEdit}`;
    await eventually(what, () => view.lines().join('\n') === expected, {
      ms: 20_000,
      stepMs: 2,
      detail: () => `expected:\n${expected}\nactual:\n${view.lines().join('\n')}`,
    });
  }
});
