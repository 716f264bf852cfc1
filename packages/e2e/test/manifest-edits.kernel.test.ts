import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownAddresses } from '@heddle/agent';
import { LinuxBpf } from '@heddle/ebpf';
import { eventually } from '@heddle/sys/testing/eventually';
import { FastClockAgent } from '../testing/edits/fast-clock-agent.ts';
import { FolderEditor } from '../testing/edits/folder-editor.ts';
import { ProgrammedMaps } from '../testing/edits/programmed-maps.ts';
import { expectedLines } from '../testing/edits/reference-model.ts';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { randomOf } from '../testing/random.ts';

const edits = 10_000;
const restartEvery = 1000;
const vanishEvery = 500;

test('after each of 10,000 edits the maps match the reference model', async () => {
  using agent = new FastClockAgent();
  const { folder, deviceAddresses, view } = agent;
  const random = randomOf('edits');
  const editor = new FolderEditor(folder, random, { faults: true });
  for (let i = 1; i <= edits; i++) {
    if (i % vanishEvery === 0) await editor.removeForAWhile(random.below(60));
    if (i % restartEvery === 0) {
      // A new agent has no earlier version of an invalid object.
      await editor.repairAll();
      assert.ok(await agent.waitUntilRead(editor));
      agent.restart(random);
    } else {
      await editor.edit();
    }
    const what = `edit ${i}: ${editor.lastEdit}`;
    if (!(await agent.waitUntilRead(editor))) {
      assert.fail(`${what} was not taken in: ${agent.differences(editor).join(', ')}`);
    }
    const expected = expectedLines([...editor.objects.values()], {
      nodeName: 'node1',
      deviceAddresses,
    });
    assert.deepEqual(view.lines(), expected, what);
  }
});

test('after edits the maps match the reference model with an agent process that is killed at times', async () => {
  using agentLab = new ManifestLab('edited');
  const random = randomOf('process');
  const editor = new FolderEditor(agentLab.folder, random, { faults: false });
  await agentLab.start();
  using view = new ProgrammedMaps(new LinuxBpf(agentLab.platform), agentLab.node.bpffs);
  const deviceAddresses = agentLab.node.enter(() =>
    ownAddresses(agentLab.platform).map(({ address }) => address),
  );
  for (let i = 1; i <= 50; i++) {
    await editor.edit();
    if (i % 12 === 0) {
      await agentLab.kill();
      await editor.edit();
      agentLab.launch();
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
