// The agent and its CNI plug-in, called as a container runtime does.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { deleteNamespace } from '@heddle/netlink';
import { type Container, type PluginError, PodsLab } from '../testing/pods-lab.ts';

describe('the agent and its CNI plug-in', { timeout: 180_000 }, () => {
  let podsLab: PodsLab;
  let containers: Container[];
  beforeEach(() => {
    podsLab = new PodsLab('cni');
    containers = [];
  });
  afterEach(() => {
    for (const container of containers) container[Symbol.dispose]();
    podsLab?.[Symbol.dispose]();
  });

  function container(): Container {
    const made = podsLab.container();
    containers.push(made);
    return made;
  }

  /** Checks that the agent knows the interfaces of exactly these containers, with their addresses. */
  async function assertAttached(...expected: readonly Container[]): Promise<void> {
    const known = async () =>
      (await podsLab.attachments).map(({ containerId, addresses }) => [containerId, addresses]);
    const wanted = expected.map(({ id, addresses }) => [id, addresses]);
    await podsLab.until(
      'the interfaces are known',
      async () => (await known()).length === wanted.length,
    );
    assert.deepEqual((await known()).sort(), wanted.sort());
    const usage = (await podsLab.status()).pods!.addresses.map(({ used }) => used);
    // Two addresses of each range are the node's own.
    assert.deepEqual(new Set(usage).size, 1);
  }

  const codeOf = async (call: Promise<unknown>) => {
    try {
      await call;
      return 0;
    } catch (error) {
      return (error as PluginError).code;
    }
  };

  test('pods are connected, checked and removed, and reach each other', async () => {
    await podsLab.start();
    await podsLab.cniStatus();
    const [a, b] = [container(), container()];
    const { interfaces } = await podsLab.add(a);
    assert.deepEqual(
      interfaces.map(({ name, sandbox }) => [name.slice(0, 2), sandbox]),
      [
        ['hd', undefined],
        ['et', a.netns],
      ],
    );
    await podsLab.add(b);
    for (const each of [a, b]) await podsLab.check(each);
    for (const family of [4, 6] as const) {
      assert.equal(a.sendTo(b, family), a.id);
      assert.equal(b.sendTo(a, family), b.id);
    }
    await assertAttached(a, b);
    await podsLab.del(a);
    await podsLab.del(a);
    await assertAttached(b);
    assert.notEqual(await codeOf(podsLab.check(a)), 0);
    // The runtime no longer knows a container, and does not name it any more.
    await podsLab.gc([]);
    await assertAttached();
  });

  test('an agent that is killed between any two calls finds everything consistent', async () => {
    await podsLab.start();
    const [a, b] = [container(), container()];
    // Each call twice: while no agent runs, with the code that it gives then, and with the next agent.
    const calls: readonly [string, number, () => Promise<unknown>, readonly Container[]][] = [
      ['ADD a', 11, () => podsLab.add(a), [a]],
      ['CHECK a', 11, () => podsLab.check(a), [a]],
      ['ADD b', 11, () => podsLab.add(b), [a, b]],
      ['CHECK b', 11, () => podsLab.check(b), [a, b]],
      ['DEL a', 0, () => podsLab.del(a), [b]],
      ['GC', 0, () => podsLab.gc([b]), [b]],
      ['STATUS', 50, () => podsLab.cniStatus(), [b]],
      ['DEL b', 0, () => podsLab.del(b), []],
    ];
    for (const [name, code, call, attached] of calls) {
      await podsLab.kill();
      assert.equal(await codeOf(call()), code, `${name} without an agent`);
      await podsLab.start();
      assert.equal(await codeOf(call()), 0, name);
      await assertAttached(...attached);
      if (attached.length === 2) assert.equal(a.sendTo(b, 6), a.id);
    }
  });

  test('STATUS stays a success while the agent restarts', async () => {
    await podsLab.start();
    assert.equal(await codeOf(podsLab.cniStatus()), 0);
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await podsLab.kill(signal);
      assert.equal(await codeOf(podsLab.cniStatus()), 0);
      await podsLab.start();
      assert.equal(await codeOf(podsLab.cniStatus()), 0);
    }
  });

  test('a chained plug-in gets the result, and an agent that starts again keeps it', async () => {
    await podsLab.start();
    const record = `${podsLab.binDir}/record`;
    const program = `#!${process.execPath}
const { readFileSync, writeFileSync } = require('node:fs');
const input = JSON.parse(readFileSync(0, 'utf8'));
writeFileSync(${JSON.stringify(record)} + '.' + process.env.CNI_COMMAND, JSON.stringify(input));
if (process.env.CNI_COMMAND === 'ADD') console.log(JSON.stringify(input.prevResult));
`;
    writeFileSync(record, program, { mode: 0o755 });
    const path = `${podsLab.configDir}/05-heddle.conflist`;
    const list = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(
      path,
      JSON.stringify({ ...list, plugins: [...list.plugins, { type: 'record' }] }),
    );
    await podsLab.kill();
    await podsLab.start();
    const a = container();
    const result = await podsLab.add(a);
    await podsLab.check(a);
    await podsLab.del(a);
    for (const verb of ['ADD', 'CHECK', 'DEL']) {
      const { prevResult } = JSON.parse(readFileSync(`${record}.${verb}`, 'utf8'));
      assert.deepEqual(prevResult, result);
    }
  });

  test('heddle cni lists, checks and removes pod interfaces', async () => {
    await podsLab.start();
    const [a, b] = [container(), container()];
    await podsLab.add(a);
    await podsLab.add(b);
    const list = (await podsLab.heddle('cni', 'list')) as {
      attachments: { containerId: string }[];
    };
    assert.deepEqual(list.attachments.map(({ containerId }) => containerId).sort(), [a.id, b.id]);
    const check = async () => {
      const { attachments } = (await podsLab.heddle('cni', 'check')) as {
        attachments: { containerId: string; problems: string[] }[];
      };
      return Object.fromEntries(
        attachments.map(({ containerId, problems }) => [containerId, problems]),
      );
    };
    const removed = async (...args: string[]) => {
      const answer = await podsLab.heddle('cni', 'gc', ...args);
      return (answer as { removed: { containerId: string }[] }).removed.map(
        (each) => each.containerId,
      );
    };
    const processes = [a, b].map((each) => each.startProcess(podsLab.node));
    assert.deepEqual(await check(), { [a.id]: [], [b.id]: [] });
    assert.deepEqual(await removed(), []);
    // A mount leads to the first namespace, wherever it is, and only a descriptor to the second one.
    for (const each of processes) {
      const ended = once(each, 'exit');
      each.kill('SIGKILL');
      await ended;
    }
    deleteNamespace(podsLab.platform, b.netns);
    const gone = "no mount and no process leads to the pod's network namespace";
    assert.deepEqual(await check(), { [a.id]: [], [b.id]: [gone] });
    // The process of a new pod may not have started yet.
    assert.deepEqual(await removed('--dry-run'), []);
    await podsLab.kill();
    await podsLab.start();
    assert.deepEqual(await removed('--dry-run'), [b.id]);
    await assertAttached(a, b);
    assert.deepEqual(await removed(), [b.id]);
    await assertAttached(a);
  });
});
