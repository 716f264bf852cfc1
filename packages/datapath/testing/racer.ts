// A thread that runs a program at the same time as another one; see raceWith.
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { type Bpf, LinuxBpf, type TestRunOptions } from '@heddle/ebpf';
import { NetworkNamespace } from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';

export interface Race {
  /** Descriptor of the program, which threads share. */
  readonly program: number;
  /** Path of the network namespace to run it in. */
  readonly netnsPath: string;
  readonly options: TestRunOptions;
  /** The offset at which the turn's number is written into the packet (16 bits), and its values. */
  readonly at: number;
  readonly from: number;
  readonly to: number;
  readonly turns: Int32Array;
}

/** Runs a program in this thread and in another one, each turn in both at once. */
export async function raceWith(bpf: Bpf, race: Race): Promise<void> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { race } });
  const over = new Promise<void>((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', () => resolve());
  });
  try {
    await Promise.race([over, new Promise((resolve) => worker.once('message', resolve))]);
    run(bpf, race);
  } finally {
    await over;
  }
}

function run(bpf: Bpf, { program, netnsPath, options, at, from, to, turns }: Race): void {
  using namespace = NetworkNamespace.open(nodePlatform(), netnsPath);
  const data = options.data!.slice();
  const view = new DataView(data.buffer);
  namespace.enter(() => {
    for (let turn = from; turn < to; turn++) {
      view.setUint16(at, turn);
      Atomics.add(turns, 0, 1);
      while (Atomics.load(turns, 0) < 2 * (turn - from + 1));
      bpf.programTestRun(program, { ...options, data });
    }
  });
}

const own = workerData as { readonly race?: Race } | null;
if (own?.race) {
  parentPort!.postMessage('ready');
  run(new LinuxBpf(nodePlatform()), own.race);
}
