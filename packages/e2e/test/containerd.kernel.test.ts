// containerd with runc as the container runtime of a node, which calls the CNI plug-in for its pods.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listLinks } from '@heddle/netlink';
import { eventually } from '@heddle/sys/testing/eventually';
import { Containerd, withoutContainerd } from '../testing/containerd/containerd.ts';
import type { CriClient } from '../testing/containerd/cri-client.ts';
import { PodsLab } from '../testing/pods-lab.ts';

const skip = withoutContainerd();

describe('containerd, the agent and the CNI plug-in', { skip, timeout: 300_000 }, () => {
  let podsLab: PodsLab;
  let containerd: Containerd;
  let client: CriClient;
  let pods = 0;
  before(async () => {
    podsLab = new PodsLab('containerd');
    containerd = new Containerd(podsLab.node, `${podsLab.folder}.containerd`, podsLab);
    client = containerd.client;
    await containerd.start();
    containerd.importPauseImage();
  });
  after(async () => {
    await containerd?.[Symbol.asyncDispose]();
    podsLab?.[Symbol.dispose]();
  });

  const newPod = () => ({ name: `web-${++pods}`, namespace: 'default', uid: `uid-${pods}` });
  const run = () => client.runPodSandbox(newPod());

  /** Stops and removes a pod, as the kubelet does. */
  async function remove(sandbox: string): Promise<void> {
    await client.stopPodSandbox(sandbox);
    await client.removePodSandbox(sandbox);
  }

  const interfaces = () =>
    podsLab.node.configure((socket) => listLinks(socket)).filter(({ name }) => /^hd/.test(name));

  /** Checks that exactly these sandboxes have addresses, interfaces and attachments. */
  async function assertConnected(...sandboxes: readonly string[]): Promise<void> {
    const known = () =>
      podsLab.attachments.then((all) => all.map((each) => each.addresses.join()).sort());
    const wanted = await Promise.all(
      sandboxes.map(async (id) => (await client.podSandboxStatus(id)).addresses.join()),
    );
    assert.equal(new Set(wanted).size, sandboxes.length);
    await podsLab.until(
      'the interfaces are known',
      async () => (await known()).length === wanted.length,
    );
    assert.deepEqual(await known(), wanted.sort());
    assert.equal(interfaces().length, sandboxes.length);
    for (const { used } of (await podsLab.status()).pods!.addresses) {
      assert.equal(used, sandboxes.length);
    }
  }

  test('the node is ready when the agent has installed the plug-in, without a restart of containerd', async () => {
    assert.match((await client.networkProblem())!, /not initialized/);
    await podsLab.start();
    await eventually('the network is ready', async () => !(await client.networkProblem()));
  });

  test('pods get addresses of both families, and lose them when they are stopped', async () => {
    const sandbox = await run();
    const { isReady, addresses } = await client.podSandboxStatus(sandbox);
    assert.equal(isReady, true);
    assert.match(addresses.join(), /^10\.7\.0\.\d+,fd00:7::\w+$/);
    await assertConnected(sandbox);
    const names = (await podsLab.attachments).map(({ namespace, name }) => `${namespace}/${name}`);
    assert.deepEqual(names, [`default/web-${pods}`]);
    await client.stopPodSandbox(sandbox);
    await assertConnected();
    await remove(sandbox);
  });

  test('pods survive containerd, and can be stopped by the next one', async () => {
    const [first, second] = [await run(), await run()];
    await containerd.kill('SIGKILL');
    await containerd.start();
    await assertConnected(first!, second!);
    await remove(first!);
    await containerd.kill('SIGTERM');
    await containerd.start();
    await remove(second!);
    await assertConnected();
  });

  test('while no agent runs, pods can be stopped and not started', async () => {
    const sandbox = await run();
    await podsLab.kill();
    await assert.rejects(run(), /the agent of Heddle does not answer; .*no process listens/);
    await remove(sandbox);
    assert.deepEqual(interfaces(), []);
    await podsLab.start();
    await assertConnected();
    const next = await run();
    await assertConnected(next);
    await remove(next);
  });

  test('pods survive the agent and containerd together', async () => {
    const [first, second] = [await run(), await run()];
    await Promise.all([podsLab.kill(), containerd.kill('SIGKILL')]);
    await containerd.start();
    await remove(first!);
    await podsLab.start();
    await assertConnected(second!);
    await remove(second!);
    await assertConnected();
  });

  test('30 pods at once get different addresses', async () => {
    const sandboxes = await Promise.all(Array.from({ length: 30 }, run));
    await assertConnected(...sandboxes);
    await Promise.all(sandboxes.map(remove));
    await assertConnected();
  });

  test('an agent that is killed while pods start and stop leaves nothing behind', async () => {
    for (const delayMs of [20, 60, 120]) {
      const starting = Promise.allSettled([run(), run(), run()]);
      await sleep(delayMs);
      await podsLab.kill();
      await starting;
      await podsLab.start();
      const removing = Promise.allSettled((await client.listPodSandboxes()).map(remove));
      await sleep(delayMs);
      await podsLab.kill();
      await removing;
      await podsLab.start();
      // What failed is tried again, as the kubelet does.
      for (const sandbox of await client.listPodSandboxes()) await remove(sandbox);
      await assertConnected();
    }
  });
});
