import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { askTcp, startBackend } from '@heddle/lab';
import { failures } from '../testing/failing/failing-platform.ts';
import type { Outcome, Trial } from '../testing/failing/run-agent.ts';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';

const script = fileURLToPath(new URL('../testing/failing/run-agent.ts', import.meta.url));
const clusterIP = '10.96.0.10';
/** HEDDLE_FAILURES=all tests each system call of a start, which takes an hour. */
const all = process.env.HEDDLE_FAILURES === 'all';
const samples = { start: 10, steady: 5, end: 8 } as const;

describe('an agent in which a system call fails', () => {
  let agentLab: ManifestLab;
  let calls: Outcome['calls'];
  before(async () => {
    agentLab = new ManifestLab('failing', { podsPerNode: 2 });
    await startBackend(agentLab.pod(1), { tcp: [8080] });
    const backend = agentLab.pod(1).addresses.v4;
    agentLab.write('web.yaml', service('web', [clusterIP]), slice('web', [backend]));
    const [outcome] = await run([{ phase: 'steady', call: 0, failure: 'EMFILE' }]);
    assert.deepEqual([outcome?.isWhole, outcome?.leaked, outcome?.thrown], [true, [], []]);
    calls = outcome!.calls;
  });
  after(() => agentLab?.[Symbol.dispose]());

  async function run(trials: readonly Trial[]): Promise<Outcome[]> {
    const { node, folder, socket } = agentLab;
    const { name, cgroup, bpffs } = node;
    const sizes = { 'sizes.services': 1024, 'sizes.backends': 1024, 'sizes.slots': 4096 };
    const flags = { manifests: folder, node: name, cgroup, bpffs, socket, ...sizes };
    const order = { flags, manifest: `${folder}/web.yaml`, trials };
    const child = node.spawn(process.execPath, [script, JSON.stringify(order)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout!.on('data', (data) => {
      output += data;
    });
    const [code] = await once(child, 'close');
    const outcomes = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Outcome);
    assert.deepEqual(
      [code, outcomes.length],
      [0, trials.length],
      'the process did not end by itself',
    );
    return outcomes;
  }

  const trialsOf = (phase: Trial['phase'], more = 0): Trial[] => {
    const count = calls[phase];
    const step = all ? 1 : Math.max(1, count / samples[phase]);
    // Each run chooses other calls, so that all are tested over time. The title of a test names its
    // call.
    const first = all ? 1 : 1 + Math.floor(Math.random() * step);
    const trials: Trial[] = [];
    for (let call = first; call <= count; call += step) {
      const failure = failures[trials.length % failures.length]!;
      trials.push({ phase, call: Math.floor(call), failure, more });
    }
    return trials;
  };

  const answer = () => askTcp(agentLab.pod(0), { address: clusterIP, port: 80 }, 'x').split(' ')[0];

  for (const [phase, more] of [
    ['start', 0],
    ['start', 20],
    ['steady', 0],
    ['steady', 20],
    ['end', 0],
  ] as const) {
    const what = more === 0 ? 'one call' : 'many calls in a row';
    test(`in the phase ${phase}, ${what}: the agent ends with an error or recovers, and leaks no descriptor`, async () => {
      for (const outcome of await run(trialsOf(phase, more))) {
        const { startError, endError, thrown, leaked, log, status } = outcome;
        const where = `${JSON.stringify(outcome.trial)}\n${JSON.stringify({ startError, endError, thrown, leaked, log, status }, undefined, 1)}`;
        assert.deepEqual(thrown, [], where);
        assert.deepEqual(leaked, [], where);
        if (startError === undefined) assert.equal(outcome.isWhole, true, where);
        // The message reads `verb noun: cause` and is no internal error.
        else assert.match(startError, /: /, where);
        assert.doesNotMatch(startError ?? '', /undefined|is not a function|the verifier/, where);
      }
      assert.equal(answer(), 'pod-1-2', 'what was programmed serves');
    });
  }
});
