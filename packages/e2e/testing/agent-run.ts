import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentEvent, AgentStatus, ServiceDetail, ServiceEntry } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import { createLab, type Lab, type LabNode, type LabPod } from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';

const currentProgram = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
const patienceMs = 20_000;

/**
 * A lab of nodes with pods, and on the first node the agent as a process of its own; where the agent
 * learns of services is for the class that extends this one. Disposing it removes all of it.
 */
export abstract class AgentRun implements Disposable {
  readonly platform: Platform;
  readonly lab: Lab;
  readonly node: LabNode;
  /** Folder for files of the run; it goes with the lab. */
  protected readonly place: string;
  readonly socket: string;
  /** What the agents wrote to stderr, for whoever looks for the cause of a failure. */
  log = '';
  /** The command `heddle` whose agent starts next; another build's for a test of upgrades. */
  program = currentProgram;
  #agent: ChildProcess | undefined;
  #client: ControlClient | undefined;

  constructor(
    name: string,
    options: { nodes?: number; podsPerNode?: number; outside?: number } = {},
  ) {
    this.platform = nodePlatform(() => {});
    this.lab = createLab(this.platform, { name: `${name}-${process.pid}`, ...options });
    this.node = this.lab.nodes[0]!;
    // Beside what the lab itself keeps there, and removed with it.
    this.place = `${dirname(this.lab.bpffs)}/product`;
    this.socket = `${this.place}/agent.sock`;
    mkdirSync(this.place);
  }

  /** Arguments of `heddle agent` that name its source. */
  protected abstract sourceArgs(): readonly string[];

  /** An agent that started says something. */
  protected onEvent(_event: AgentEvent): void {}

  /** A pod of the first node, from 0. */
  pod(number: number): LabPod {
    return this.node.pods[number]!;
  }

  /** Starts the agent without waiting for anything. */
  launch(...args: readonly string[]): ChildProcess {
    const agent = this.node.spawn(
      process.execPath,
      [
        ...[this.program, 'agent', ...this.sourceArgs(), '--node', this.node.name],
        ...['--cgroup', this.node.cgroup, '--bpffs', this.node.bpffs, '--socket', this.socket],
        ...args,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#agent = agent;
    agent.stderr!.on('data', (data) => {
      this.log = `${this.log}${data}`.slice(-20_000);
    });
    agent.once('exit', () => {
      if (this.#agent === agent) this.#hangUp();
    });
    return agent;
  }

  /** Starts the agent and returns once it answers. */
  async listen(...args: readonly string[]): Promise<AgentStatus> {
    const agent = this.launch(...args);
    return await this.until('the agent to answer', async () => {
      if (agent.exitCode !== null || agent.signalCode !== null) {
        throw new Error(`start agent: it ended; its last words:\n${this.log}`);
      }
      return await this.#greet();
    });
  }

  /** Starts the agent and returns once it has read all there is and no row is pending. */
  async start(...args: readonly string[]): Promise<AgentStatus> {
    await this.listen(...args);
    return await this.until('all objects to be in force', async () => {
      const status = await this.status();
      return status.source.complete && status.rows.pending === 0 ? status : undefined;
    });
  }

  /** Kills the agent as nothing can prepare for. */
  async kill(): Promise<void> {
    const agent = this.#agent;
    if (!agent || agent.exitCode !== null || agent.signalCode !== null) return;
    const gone = once(agent, 'exit');
    agent.kill('SIGKILL');
    await gone;
  }

  async status(): Promise<AgentStatus> {
    return await this.request<AgentStatus>('status');
  }

  /** What the agent answers to a request without parameters. */
  async request<Result>(method: string): Promise<Result> {
    return (await this.#connected().request(method)) as Result;
  }

  /** Rows of a service, `namespace/name` or a name in the namespace `default`; none if it has none. */
  async service(name: string): Promise<ServiceDetail[]> {
    const service = name.includes('/') ? name : `default/${name}`;
    try {
      const reply = await this.#connected().request('service.get', { service });
      return (reply as { items: ServiceDetail[] }).items;
    } catch (error) {
      if ((error as Error).message.includes('the agent serves none of that name')) return [];
      throw error;
    }
  }

  async services(): Promise<ServiceEntry[]> {
    const entries: ServiceEntry[] = [];
    for await (const entry of this.#connected().items<ServiceEntry>('service.list')) {
      entries.push(entry);
    }
    return entries;
  }

  /** What `heddle ARGS -o json` prints, parsed. */
  async heddle(...args: readonly string[]): Promise<unknown> {
    const child = spawn(
      process.execPath,
      [currentProgram, ...args, '--socket', this.socket, '-o', 'json'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    let text = '';
    child.stdout.on('data', (data) => {
      text += data;
    });
    await once(child, 'close');
    return JSON.parse(text);
  }

  /** Waits until `condition` gives something; fails after a while. */
  async until<Result>(
    what: string,
    condition: Parameters<typeof eventually<Result>>[1],
    patience = patienceMs,
  ): ReturnType<typeof eventually<Result>> {
    const detail = () => `The agent's log:\n${this.log}`;
    return eventually(what, condition, { ms: patience, stepMs: 5, detail });
  }

  [Symbol.dispose](): void {
    this.#hangUp();
    this.lab.remove();
  }

  #connected(): ControlClient {
    if (!this.#client) throw new Error('ask agent: none runs');
    return this.#client;
  }

  /** Its status if it answers by now; from then on what it says is followed. */
  async #greet(): Promise<AgentStatus | undefined> {
    let client: ControlClient;
    try {
      client = await ControlClient.connect(this.socket);
    } catch {
      // It doesn't listen yet, or the socket is one that a killed agent left.
      return undefined;
    }
    this.#client = client;
    // Ends with the agent, of which its process tells.
    client.follow<AgentEvent>((event) => this.onEvent(event)).catch(() => {});
    try {
      return (await client.request('status')) as AgentStatus;
    } catch {
      // It ends again; whoever waits for it sees that, and has its last words.
      return undefined;
    }
  }

  #hangUp(): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }
}
