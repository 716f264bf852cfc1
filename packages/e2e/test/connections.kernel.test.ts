import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LabPod } from '@heddle/lab';
import type { Random } from '@heddle/vm/internal';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';
import { randomOf } from '../testing/random.ts';

const connections = 1_000_000;
const kills = 20;
const fewestServers = 2;
const maxServers = 5;
const port = 8080;
const clusterIPs = ['10.96.0.10', 'fd00:96::10'];

const conditions = {
  ready: { ready: true, serving: true, terminating: false },
  unready: { ready: false, serving: false, terminating: false },
  terminating: { ready: false, serving: true, terminating: true },
} as const;

/** A server pod; `state` is the condition of its endpoint. */
interface Server {
  readonly pod: LabPod;
  readonly process: ChildProcess;
  /** The number of connections that it served; resolves when it has ended. */
  readonly served: Promise<number>;
  state: keyof typeof conditions;
}

/** A client pod that connects as fast as it can. */
interface Client {
  readonly process: ChildProcess;
  made: number;
  failures: readonly string[];
}

/** The service with its servers and clients. */
class LoadTest implements Disposable {
  readonly agentLab = new ManifestLab('million');
  readonly clients: Client[] = [];
  readonly servers: Server[] = [];
  /** The number of connections that ended servers have served. */
  served = 0;
  over = false;

  get made(): number {
    return this.clients.reduce((sum, { made }) => sum + made, 0);
  }

  get failures(): string[] {
    return this.clients.flatMap(({ failures }) => failures);
  }

  startClient(address: string): void {
    const child = this.#run(this.#addPod(), 'connect-loop.ts', address, '80');
    const client: Client = { process: child, made: 0, failures: [] };
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const space = line.indexOf(' ');
      client.made = Number(line.slice(0, space));
      client.failures = JSON.parse(line.slice(space + 1)) as string[];
    });
    this.clients.push(client);
  }

  /** Starts a server. It gets no connections before `write` adds its endpoint. */
  async startServer(): Promise<void> {
    const pod = this.#addPod();
    const child = this.#run(pod, 'reply-loop.ts', `${pod.number}`, `${port}`);
    let output = '';
    child.stdout!.on('data', (data) => {
      output += data;
    });
    const served = once(child, 'close').then(() => Number(output.split('\n')[1]));
    await once(child.stdout!, 'data');
    this.servers.push({ pod, process: child, served, state: 'ready' });
  }

  /** Ends a server whose endpoint is removed, after it has served its remaining connections. */
  async endServer({ pod, process: child, served }: Server): Promise<void> {
    child.stdin!.end();
    const count = await served;
    this.served += count;
    this.agentLab.lab.removePod(pod);
  }

  write(): void {
    const of = (family: 'v4' | 'v6') =>
      slice(
        'web',
        this.servers.map(({ pod, state }) => endpoint(pod.addresses[family], conditions[state])),
        { name: `web-${family}`, addressType: `IP${family}`, ports: [{ port }] },
      );
    this.agentLab.write('endpoints.yaml', of('v4'), of('v6'));
  }

  /** Waits until the written endpoints are programmed, by whichever agent. */
  async programmed(): Promise<void> {
    const wanted = this.servers
      .flatMap(({ pod, state }) =>
        [pod.addresses.v4, pod.addresses.v6].map((each) => `${each} ${state === 'ready'}`),
      )
      .sort()
      .join();
    await this.agentLab.until('the endpoints to be programmed', async () => {
      if (this.failures.length > 0) throw new Error(this.failures.join('\n'));
      // There is no agent, or it has just been killed.
      const rows = await this.agentLab.service('web').catch(() => undefined);
      const current = rows?.flatMap(({ endpoints }) =>
        endpoints.map(({ address, state }) => `${address} ${state === 'active'}`),
      );
      return rows?.every(({ status }) => status === 'done') && current?.sort().join() === wanted;
    });
  }

  [Symbol.dispose](): void {
    this.agentLab[Symbol.dispose]();
  }

  #addPod(): LabPod {
    const { lab, node } = this.agentLab;
    const pod = lab.addPod(node);
    // Without TIME_WAIT a port is free as soon as its connection is closed, so that ports suffice.
    pod.setSysctl('net/ipv4/tcp_max_tw_buckets', 0);
    return pod;
  }

  #run(pod: LabPod, program: string, ...args: string[]): ChildProcess {
    const path = fileURLToPath(new URL(`../testing/traffic/${program}`, import.meta.url));
    return pod.spawn(process.execPath, [path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  }
}

/** Adds, removes and changes servers at random until the test ends. */
async function changeServers(test: LoadTest, random: Random): Promise<void> {
  const { servers } = test;
  const ready = () => servers.filter(({ state }) => state === 'ready');
  while (!test.over) {
    const leaving: Server[] = [];
    const chosen = servers[random.below(servers.length)]!;
    const canLeave = ready().length > fewestServers || chosen.state !== 'ready';
    const act = random.below(4);
    if (act === 0 && servers.length < maxServers) await test.startServer();
    else if (act === 1 && canLeave) leaving.push(...servers.splice(servers.indexOf(chosen), 1));
    else if (act === 2 && canLeave)
      chosen.state = random.below(2) === 0 ? 'unready' : 'terminating';
    else chosen.state = 'ready';
    test.write();
    // Sometimes the next change follows before this one is programmed.
    if (leaving.length > 0 || random.below(3) > 0) await test.programmed();
    await Promise.all(leaving.map((server) => test.endServer(server)));
    await sleep(random.below(100));
  }
}

/** Kills the agent repeatedly, spread over all connections, and starts another one. */
async function killAgents(test: LoadTest, random: Random): Promise<void> {
  const { agentLab } = test;
  for (let kill = 0; kill < kills; kill++) {
    await agentLab.until(
      'connections to be made',
      () => test.over || test.made > ((kill + 0.5) / kills) * connections,
      120_000,
    );
    if (test.over) return;
    await agentLab.kill();
    await sleep(random.below(300));
    // One agent in three is killed again while it starts.
    if (random.below(3) === 0) {
      agentLab.launch();
      await sleep(random.below(800));
      await agentLab.kill();
    }
    await agentLab.listen();
  }
}

test('none of a million connections fails while the agent is killed 20 times and servers change', async () => {
  using test = new LoadTest();
  const random = randomOf('million');
  const { agentLab } = test;
  for (let i = 0; i < 3; i++) await test.startServer();
  agentLab.write('service.yaml', service('web', clusterIPs));
  test.write();
  await agentLab.start();
  for (const address of clusterIPs) test.startClient(address);

  const over = () => {
    test.over = true;
  };
  await Promise.all([
    changeServers(test, random.fork()).finally(over),
    killAgents(test, random.fork())
      .then(() =>
        agentLab.until('a million connections', () => test.over || test.made >= connections),
      )
      .finally(over),
  ]);

  const ended = test.clients.map(({ process: child }) => once(child, 'close'));
  for (const { process: child } of test.clients) child.stdin!.end();
  await Promise.all(ended);
  await Promise.all(test.servers.map((server) => test.endServer(server)));
  assert.deepEqual(test.failures, []);
  assert.ok(test.made >= connections);
  assert.equal(test.served, test.made, 'each connection was served once');
});
