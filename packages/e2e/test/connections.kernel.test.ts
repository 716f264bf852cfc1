import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { LabPod } from '@heddle/lab';
import type { Random } from '@heddle/vm/internal';
import { endpoint, service, slice } from '../testing/objects.ts';
import { Product } from '../testing/product.ts';
import { randomOf } from '../testing/random.ts';

const connections = 1_000_000;
const kills = 20;
const fewestServers = 2;
const mostServers = 5;
const port = 8080;
const clusterIPs = ['10.96.0.10', 'fd00:96::10'];

const conditions = {
  ready: { ready: true, serving: true, terminating: false },
  unready: { ready: false, serving: false, terminating: false },
  terminating: { ready: false, serving: true, terminating: true },
} as const;

/** A server pod: `state` is what its endpoint says. */
interface Server {
  readonly pod: LabPod;
  readonly process: ChildProcess;
  /** How many connections it served; known once it has ended. */
  readonly served: Promise<number>;
  state: keyof typeof conditions;
}

/** A client pod that connects as fast as it can. */
interface Client {
  readonly process: ChildProcess;
  made: number;
  failures: readonly string[];
}

/** The service, its servers, and what happens to them. */
class Stage implements Disposable {
  readonly product = new Product('million');
  readonly clients: Client[] = [];
  readonly servers: Server[] = [];
  /** What servers served that have ended. */
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

  /** Starts a server; nothing is sent to it before it is written down. */
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

  /** Ends a server that is not written down any more; it first serves whom it was given before. */
  async endServer({ pod, process: child, served }: Server): Promise<void> {
    child.stdin!.end();
    const count = await served;
    this.served += count;
    this.product.lab.removePod(pod);
  }

  write(): void {
    const of = (family: 'v4' | 'v6') =>
      slice(
        'web',
        this.servers.map(({ pod, state }) => endpoint(pod.addresses[family], conditions[state])),
        { name: `web-${family}`, addressType: `IP${family}`, ports: [{ port }] },
      );
    this.product.write('endpoints.yaml', of('v4'), of('v6'));
  }

  /** Waits until the kernel has what is written, whichever agent puts it there. */
  async inForce(): Promise<void> {
    const wanted = this.servers
      .flatMap(({ pod, state }) =>
        [pod.addresses.v4, pod.addresses.v6].map((each) => `${each} ${state === 'ready'}`),
      )
      .sort()
      .join();
    await this.product.until('the endpoints to be in force', async () => {
      if (this.failures.length > 0) throw new Error(this.failures.join('\n'));
      // No agent, or one that has just been killed: not yet.
      const rows = await this.product.service('web').catch(() => undefined);
      const current = rows?.flatMap(({ endpoints }) =>
        endpoints.map(({ address, state }) => `${address} ${state === 'active'}`),
      );
      return rows?.every(({ status }) => status === 'done') && current?.sort().join() === wanted;
    });
  }

  [Symbol.dispose](): void {
    this.product[Symbol.dispose]();
  }

  #addPod(): LabPod {
    const { lab, node } = this.product;
    const pod = lab.addPod(node);
    // A port is free as soon as its connection is closed: the test is of connecting, not of waiting.
    pod.setSysctl('net/ipv4/tcp_max_tw_buckets', 0);
    return pod;
  }

  #run(pod: LabPod, program: string, ...args: string[]): ChildProcess {
    const path = fileURLToPath(new URL(`../testing/traffic/${program}`, import.meta.url));
    return pod.spawn(process.execPath, [path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  }
}

/** Servers come and go, and change their minds, until it is over. */
async function changeServers(stage: Stage, random: Random): Promise<void> {
  const { servers } = stage;
  const ready = () => servers.filter(({ state }) => state === 'ready');
  while (!stage.over) {
    const leaving: Server[] = [];
    const chosen = servers[random.below(servers.length)]!;
    const spare = ready().length > fewestServers || chosen.state !== 'ready';
    const act = random.below(4);
    if (act === 0 && servers.length < mostServers) await stage.startServer();
    else if (act === 1 && spare) leaving.push(...servers.splice(servers.indexOf(chosen), 1));
    else if (act === 2 && spare) chosen.state = random.below(2) === 0 ? 'unready' : 'terminating';
    else chosen.state = 'ready';
    stage.write();
    // Now and then the next change comes before this one is in force.
    if (leaving.length > 0 || random.below(3) > 0) await stage.inForce();
    await Promise.all(leaving.map((server) => stage.endServer(server)));
    await sleep(random.below(100));
  }
}

/** Kills the agent again and again, spread over all connections, and starts another one. */
async function killAgents(stage: Stage, random: Random): Promise<void> {
  const { product } = stage;
  for (let kill = 0; kill < kills; kill++) {
    await product.until(
      'connections to be made',
      () => stage.over || stage.made > ((kill + 0.5) / kills) * connections,
      120_000,
    );
    if (stage.over) return;
    await product.kill();
    await sleep(random.below(300));
    // One in three is killed again while it starts.
    if (random.below(3) === 0) {
      product.launch();
      await sleep(random.below(800));
      await product.kill();
    }
    await product.listen();
  }
}

test('a million connections: the agent is killed 20 times, servers come and go, none fails', async () => {
  using stage = new Stage();
  const random = randomOf('million');
  const { product } = stage;
  for (let i = 0; i < 3; i++) await stage.startServer();
  product.write('service.yaml', service('web', clusterIPs));
  stage.write();
  await product.start();
  for (const address of clusterIPs) stage.startClient(address);

  const over = () => {
    stage.over = true;
  };
  await Promise.all([
    changeServers(stage, random.fork()).finally(over),
    killAgents(stage, random.fork())
      .then(() =>
        product.until('a million connections', () => stage.over || stage.made >= connections),
      )
      .finally(over),
  ]);

  const ended = stage.clients.map(({ process: child }) => once(child, 'close'));
  for (const { process: child } of stage.clients) child.stdin!.end();
  await Promise.all(ended);
  await Promise.all(stage.servers.map((server) => stage.endServer(server)));
  assert.deepEqual(stage.failures, []);
  assert.ok(stage.made >= connections);
  assert.equal(stage.served, stage.made, 'each connection was served once');
});
