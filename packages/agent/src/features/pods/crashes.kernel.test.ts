// Pods come and go while the agent is killed at each of its system calls, and the plug-in between its steps: no address
// leaks, none is given twice. HEDDLE_STEPS sets the number of ADDs and DELs, and HEDDLE_SEED the random choices.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { podInterfaceName } from '@heddle/ipam';
import { createVeth, findLink, listLinks } from '@heddle/netlink';
import { removePodInterface } from '@heddle/podnet';
import { eventually } from '@heddle/sys/testing/eventually';
import { PodsNode, type TestPod } from '../../../testing/pods-node.ts';

const steps = Number(process.env.HEDDLE_STEPS ?? 300);
const seed = Number(process.env.HEDDLE_SEED ?? 1);
const mostPods = 24;
/** More system calls than an ADD takes. */
const callsOfAdd = 330;

/** Returns a source of numbers from 0 to below the limit, the same ones for a seed (mulberry32). */
function randomOf(start: number): (limit: number) => number {
  let state = start;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

/** A container runtime and its plug-in, on a node whose agent is killed at random. */
class Runtime {
  readonly pods: TestPod[] = [];
  readonly counts = { added: 0, failed: 0, deleted: 0, lost: 0, kills: 0 };
  readonly #node: PodsNode;
  readonly #random: (limit: number) => number;
  #number = 0;

  constructor(node: PodsNode, random: (limit: number) => number) {
    this.#node = node;
    this.#random = random;
  }

  async step(): Promise<void> {
    const random = this.#random;
    if (random(3) === 0) this.#node.process.killAfter(random(callsOfAdd));
    const { pods } = this;
    if (pods.length === 0 || (pods.length < mostPods && random(100) < 55)) await this.#add();
    else await this.#remove(pods.splice(random(pods.length), 1)[0]!);
    if (this.#node.process.isKilled) this.counts.kills++;
    else this.#node.process.killAfter(Number.POSITIVE_INFINITY);
  }

  async #add(): Promise<void> {
    const pod = this.#node.pod(`pod${++this.#number}`);
    if (await this.#call('ADD', pod)) {
      this.pods.push(pod);
      this.counts.added++;
      return;
    }
    this.counts.failed++;
    // After a failed ADD the runtime calls DEL, which may be lost as well; then the namespace ends.
    if (this.#random(3) > 0) await this.#delete(pod);
    pod[Symbol.dispose]();
  }

  async #remove(pod: TestPod): Promise<void> {
    if (this.#random(8) === 0) this.counts.lost++;
    else await this.#delete(pod);
    pod[Symbol.dispose]();
  }

  /** The plug-in deletes the interface also if no agent answers, unless it is killed after the answer. */
  async #delete(pod: TestPod): Promise<void> {
    await this.#call('DEL', pod);
    if (this.#random(10) === 0) return;
    removePodInterface(this.#node.socket, podInterfaceName(pod.id, 'eth0'));
    this.counts.deleted++;
  }

  /** Returns true if the call succeeded. An agent that is killed closes the connection, or does not listen. */
  async #call(verb: string, pod: TestPod): Promise<boolean> {
    try {
      return (await this.#node.call(verb, pod)).isSuccess;
    } catch {
      return false;
    }
  }

  [Symbol.dispose](): void {
    for (const pod of this.pods) pod[Symbol.dispose]();
  }
}

/** Waits until the pods that exist are those that are recorded, programmed and counted. */
async function assertConsistent(node: PodsNode, { pods }: Runtime): Promise<void> {
  const sorted = (texts: readonly string[]) => [...texts].sort().join();
  const state = () => {
    const links = listLinks(node.socket).filter(({ name }) => name.startsWith('hd'));
    const recorded = links.flatMap(({ alias, index }) =>
      (alias ?? '- - none none')
        .split(' ')
        .slice(2, 4)
        .map((address) => `${address} ${index}`),
    );
    const programmed = [...node.datapath.programmed.values()];
    const entries = (all: readonly { addresses: readonly string[]; ifindex: number }[]) =>
      sorted(all.flatMap((each) => each.addresses.map((address) => `${address} ${each.ifindex}`)));
    return {
      wanted: sorted(pods.map(({ id }) => podInterfaceName(id, 'eth0'))),
      existing: sorted(links.map(({ name }) => name)),
      recorded: sorted(recorded),
      programmed: entries(programmed),
      known: entries(node.attachments),
      used: node.status.addresses.map(({ used }) => used),
      addresses: recorded.map((each) => each.split(' ')[0]),
    };
  };
  await eventually(
    'everything is consistent',
    () => {
      const { wanted, existing, recorded, programmed, known, used } = state();
      const isSame = wanted === existing && recorded === programmed && recorded === known;
      return isSame && used.every((count) => count === pods.length);
    },
    { detail: () => JSON.stringify(state(), null, 1), ms: 20_000 },
  );
  const { addresses } = state();
  assert.equal(new Set(addresses).size, addresses.length, 'no address is given twice');
}

test(`no address leaks and none is given twice in ${steps} ADDs and DELs`, async (context) => {
  using node = new PodsNode({ podCIDRs: ['10.7.0.0/26', 'fd00:7::/64'] });
  using runtime = new Runtime(node, randomOf(seed));
  for (let step = 1; step <= steps; step++) {
    await runtime.step();
    if (node.process.isKilled) node.restart();
    if (step % 25 === 0 || step === steps) await assertConsistent(node, runtime);
  }
  context.diagnostic(`seed ${seed}: ${JSON.stringify(runtime.counts)}`);
  assert.ok(runtime.counts.kills > steps / 20, 'the agent was killed often enough');
});

test('an agent that is killed at any system call of an ADD leaves nothing when the pod ends', async (context) => {
  using node = new PodsNode();
  createVeth(node.socket, { name: 'other' }, { name: 'peer' });
  let calls = 0;
  for (let isDone = false; !isDone; calls += 7) {
    using pod = node.pod(`pod${calls}`);
    node.process.killAfter(calls);
    const answer = await node.call('ADD', pod).catch(() => undefined);
    isDone = !node.process.isKilled && answer?.isSuccess === true;
    if (node.process.isKilled) node.restart();
    else node.process.killAfter(Number.POSITIVE_INFINITY);
  }
  await eventually('no pod is left', () => {
    const names = listLinks(node.socket).map(({ name }) => name);
    return !names.some((name) => name.startsWith('hd')) && node.status.count === 0;
  });
  assert.equal(node.datapath.programmed.size, 0);
  assert.ok(findLink(node.socket, 'other'));
  context.diagnostic(`an ADD takes ${calls} system calls`);
  assert.ok(calls > 100);
});
