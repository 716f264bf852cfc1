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
const defaultTimeoutMs = 20_000;

/**
 * A lab of nodes with pods whose first node runs the agent as a process. Subclasses define the
 * source of the agent's objects. Disposing it removes everything.
 */
export abstract class AgentLab implements Disposable {
  readonly platform: Platform;
  readonly lab: Lab;
  readonly node: LabNode;
  /** The folder for files of the test; it is removed with the lab. */
  protected readonly directory: string;
  readonly socket: string;
  /** The stderr of the agents, for messages of failed tests. */
  log = '';
  /**
   * The `heddle` command that the next agent is started with; tests of upgrades set that of another
   * build.
   */
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
    // In the lab's folder, so that it is removed with the lab.
    this.directory = `${dirname(this.lab.bpffs)}/agent`;
    this.socket = `${this.directory}/agent.sock`;
    mkdirSync(this.directory);
  }

  /** Returns the arguments of `heddle agent` that name its source. */
  protected abstract sourceArgs(): readonly string[];

  /** Called for each event of a started agent. */
  protected onEvent(_event: AgentEvent): void {}

  /** Returns a pod of the first node, from 0. */
  pod(number: number): LabPod {
    return this.node.pods[number]!;
  }

  /** Starts the agent without waiting. */
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
      if (this.#agent === agent) this.#disconnect();
    });
    return agent;
  }

  /** Starts the agent and resolves when it responds. */
  async listen(...args: readonly string[]): Promise<AgentStatus> {
    const agent = this.launch(...args);
    return await this.until('the agent to answer', async () => {
      if (agent.exitCode !== null || agent.signalCode !== null) {
        throw new Error(`start agent: it ended; its last output:\n${this.log}`);
      }
      return await this.#requestStatus();
    });
  }

  /** Starts the agent and resolves when it has read all objects and no row is pending. */
  async start(...args: readonly string[]): Promise<AgentStatus> {
    await this.listen(...args);
    return await this.until('all objects to be programmed', async () => {
      const status = await this.status();
      return status.source.complete && status.rows.pending === 0 ? status : undefined;
    });
  }

  /** Ends the agent with a signal and resolves when it has ended. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const agent = this.#agent;
    if (!agent || agent.exitCode !== null || agent.signalCode !== null) return;
    const exited = once(agent, 'exit');
    agent.kill(signal);
    await exited;
  }

  async status(): Promise<AgentStatus> {
    return await this.request<AgentStatus>('status');
  }

  /** Returns the agent's answer to a request without parameters. */
  async request<Result>(method: string): Promise<Result> {
    return (await this.#connected().request(method)) as Result;
  }

  /** Returns the rows of a service, `namespace/name` or a name in the namespace `default`. */
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

  /** Runs `heddle ARGS -o json` and returns its parsed output. */
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

  /** Waits until `condition` returns a truthy value and returns that. Throws after `timeoutMs`. */
  async until<Result>(
    what: string,
    condition: Parameters<typeof eventually<Result>>[1],
    timeoutMs = defaultTimeoutMs,
  ): ReturnType<typeof eventually<Result>> {
    const detail = () => `The agent's log:\n${this.log}`;
    return eventually(what, condition, { ms: timeoutMs, stepMs: 5, detail });
  }

  [Symbol.dispose](): void {
    this.#disconnect();
    this.lab.remove();
  }

  #connected(): ControlClient {
    if (!this.#client) throw new Error('ask agent: none runs');
    return this.#client;
  }

  /**
   * Returns the agent's status, or undefined if it doesn't respond yet. Subscribes to its events.
   */
  async #requestStatus(): Promise<AgentStatus | undefined> {
    let client: ControlClient;
    try {
      client = await ControlClient.connect(this.socket);
    } catch {
      // It doesn't listen yet, or a killed agent left the socket.
      return undefined;
    }
    this.#client = client;
    // The subscription ends with the agent, whose exit the process reports.
    client.follow<AgentEvent>((event) => this.onEvent(event)).catch(() => {});
    try {
      return (await client.request('status')) as AgentStatus;
    } catch {
      // It has ended again; `listen` reports that with its last output.
      return undefined;
    }
  }

  #disconnect(): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }
}
