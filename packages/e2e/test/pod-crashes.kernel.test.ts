// Pods come and go while the agent and the plug-in are killed at any moment: no address leaks, none is given twice.
// HEDDLE_STEPS sets the number of ADDs and DELs, and HEDDLE_SEED the random choices.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PodNetworkLab, Sandbox } from '../testing/pod-network-lab.ts';
import { randomOf } from '../testing/random.ts';

const steps = Number(process.env.HEDDLE_STEPS ?? 60);
const ranges = ['10.77.0.0/26', 'fd00:77::/64'];
/** Addresses for pods in the IPv4 range. */
const room = 61;
/** The largest number of pods, so that there is an address for each and for those of killed calls. */
const mostPods = 24;
/** Steps between two deaths of the agent. */
const stepsOfLife = 20;
const callsAtOnce = 6;

type Random = ReturnType<typeof randomOf>;

/** A container runtime whose plug-in and agent are killed at random. */
class Runtime {
  readonly pods = new Set<Sandbox>();
  readonly #lab: PodNetworkLab;
  readonly #random: Random;
  #number = 0;
  calls = { added: 0, refused: 0, killed: 0, deleted: 0, lost: 0 };

  constructor(lab: PodNetworkLab, random: Random) {
    this.#lab = lab;
    this.#random = random;
  }

  /** Connects or disconnects a pod, or does so until the plug-in is killed. */
  async step(): Promise<void> {
    const random = this.#random;
    const isAdd = this.pods.size === 0 || (this.pods.size < mostPods && random.below(100) < 55);
    const kill = random.oneIn(12) ? random.below(6) : undefined;
    await (isAdd ? this.#add(kill) : this.#remove(kill));
  }

  async #add(killAfterMs: number | undefined): Promise<void> {
    const pod = new Sandbox(this.#lab, `pod${++this.#number}`);
    const { status } = await this.#call('ADD', pod, killAfterMs);
    if (status === 0) {
      this.pods.add(pod);
      this.calls.added++;
      return;
    }
    this.calls[status === null ? 'killed' : 'refused']++;
    // The runtime deletes what may be half there; once in a while that is lost too.
    if (!this.#random.oneIn(5)) await this.#lab.call('DEL', pod);
    pod[Symbol.dispose]();
  }

  async #remove(killAfterMs: number | undefined): Promise<void> {
    const pod = this.#random.pick([...this.pods]);
    this.pods.delete(pod);
    if (this.#random.oneIn(10)) this.calls.lost++;
    else {
      const { status } = await this.#call('DEL', pod, killAfterMs);
      // A runtime repeats a failed DEL, and takes another namespace for the next pod.
      if (status === 0) this.calls.deleted++;
      else assert.equal((await this.#lab.call('DEL', pod)).status, 0);
    }
    pod[Symbol.dispose]();
  }

  #call(verb: 'ADD' | 'DEL', pod: Sandbox, killAfterMs: number | undefined) {
    if (killAfterMs === undefined) return this.#lab.call(verb, pod);
    return this.#lab.call(verb, pod, { onStart: (kill) => setTimeout(kill, killAfterMs) });
  }

  [Symbol.dispose](): void {
    for (const pod of this.pods) pod[Symbol.dispose]();
  }
}

/** Asserts that the addresses of the pods, of the aliases and of the map are the same. */
async function assertConsistent(lab: PodNetworkLab, runtime: Runtime): Promise<void> {
  const detail = () =>
    JSON.stringify({
      recorded: lab.recorded(),
      programmed: lab.programmed(),
      unfinished: lab.unfinished(),
    });
  const same = (a: readonly string[], b: readonly string[]) =>
    JSON.stringify([...a].sort()) === JSON.stringify([...b].sort());
  try {
    await lab.until(
      'the pods that exist are those that are recorded, programmed and counted',
      async () => {
        const recorded = lab.recorded();
        const known = (await lab.attachments()).flatMap(({ addresses, ifindex }) =>
          addresses.map((address) => `${address} ${ifindex}`),
        );
        const { pods } = await lab.status();
        return (
          recorded.length === 2 * runtime.pods.size &&
          same(recorded, known) &&
          same(recorded, lab.programmed()) &&
          lab.unfinished().length === 0 &&
          pods!.addresses.every(({ used }) => used === runtime.pods.size)
        );
      },
    );
  } catch (error) {
    throw new Error(
      `${(error as Error).message.split('\n')[0]}; ${detail()}; ${JSON.stringify(await lab.attachments())}`,
    );
  }
  const addresses = lab.recorded().map((each) => each.split(' ')[0]!);
  assert.equal(new Set(addresses).size, addresses.length, 'no address is given twice');
}

test(`no address leaks and none is given twice in ${steps} ADDs and DELs`, async (context) => {
  using lab = new PodNetworkLab('pod-crashes', ranges);
  await lab.start();
  const random = randomOf('pod-crashes');
  using runtime = new Runtime(lab, random);
  let deaths = 0;
  for (let step = 0; step < steps; ) {
    const count = Math.min(stepsOfLife, steps - step);
    for (let left = count; left > 0; left -= callsAtOnce) {
      const isLast = left <= callsAtOnce;
      const calls = Array.from({ length: Math.min(left, callsAtOnce) }, () => runtime.step());
      // The last calls of a life meet the death of the agent at some moment.
      if (isLast) {
        await sleep(random.below(12));
        await lab.kill();
        deaths++;
      }
      await Promise.all(calls);
    }
    step += count;
    await lab.start();
    await assertConsistent(lab, runtime);
    assert.ok(runtime.pods.size <= room);
  }
  context.diagnostic(`${deaths} deaths of the agent, ${JSON.stringify(runtime.calls)}`);
});
