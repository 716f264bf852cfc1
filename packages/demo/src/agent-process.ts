import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { AgentEvent, AgentStatus, ServiceDetail, ServiceEntry } from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import type { LabNode } from '@heddle/lab';
import type { AgentState } from './state.ts';
import type { DemoAgent } from './theatre.ts';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
const startMs = 20_000;
const keptOutput = 2000;

/** What hears of the agent. */
export interface AgentWatch {
  readonly onEvent: (event: AgentEvent) => void;
  readonly onState: (state: AgentState) => void;
  /** It ended though nobody killed it. */
  readonly onCrash: (error: Error) => void;
}

export interface AgentProcessOptions extends AgentWatch {
  readonly node: LabNode;
  readonly manifests: string;
  readonly socket: string;
}

/** The agent as a process of its own on a node, spoken to over its control socket. */
export class AgentProcess implements DemoAgent {
  readonly #options: AgentProcessOptions;
  #child: ChildProcess | undefined;
  #client: ControlClient | undefined;
  #output = '';

  constructor(options: AgentProcessOptions) {
    this.#options = options;
  }

  /**
   * Starts it, and returns once it answers and has read all manifests. Throws an Error with its
   * last words when it ends instead.
   */
  async start(): Promise<AgentStatus> {
    const { node, manifests, socket, onState } = this.#options;
    const child = node.spawn(
      process.execPath,
      [
        ...[program, 'agent', '--manifests', manifests, '--node', node.name],
        ...['--cgroup', node.cgroup, '--bpffs', node.bpffs, '--socket', socket],
      ],
      // Of a process group of its own, so that Ctrl-C in the terminal is the demo's to handle.
      { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
    );
    this.#child = child;
    this.#output = '';
    child.stderr!.on('data', (data: Uint8Array) => {
      this.#output = `${this.#output}${data}`.slice(-keptOutput);
    });
    child.once('exit', () => {
      if (this.#client) this.#options.onCrash(this.#ended('run agent'));
      this.#hangUp();
    });
    onState({ life: 'starting', adopted: false, ...this.#pid() });
    const status = await this.#answer(child);
    onState({ life: 'running', adopted: status.datapath.adopted, ...this.#pid() });
    return status;
  }

  /** Kills it as nothing can prepare for, and returns once it is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#hangUp();
    child.kill('SIGKILL');
    await gone(child);
    this.#options.onState({ life: 'killed', adopted: false });
  }

  /** Returns once its process has ended, by whichever hand. */
  async gone(): Promise<void> {
    this.#hangUp();
    if (this.#child) await gone(this.#child);
  }

  /** Rows of all services; undefined while no agent answers. */
  async services(): Promise<ServiceEntry[] | undefined> {
    return await this.#ask(async (client) => {
      const entries: ServiceEntry[] = [];
      for await (const entry of client.items<ServiceEntry>('service.list')) entries.push(entry);
      return entries;
    });
  }

  async service(service: string): Promise<readonly ServiceDetail[] | undefined> {
    return await this.#ask(async (client) => {
      const { items } = (await client.request('service.get', { service })) as {
        items: ServiceDetail[];
      };
      return items;
    });
  }

  #pid(): { pid?: number } {
    const pid = this.#child?.pid;
    return pid === undefined ? {} : { pid };
  }

  /** An agent that was killed in between is no error: undefined. */
  async #ask<Answer>(
    question: (client: ControlClient) => Promise<Answer>,
  ): Promise<Answer | undefined> {
    const client = this.#client;
    if (!client) return undefined;
    try {
      return await question(client);
    } catch (error) {
      if (this.#client !== client) return undefined;
      throw error;
    }
  }

  async #answer(child: ChildProcess): Promise<AgentStatus> {
    const deadline = Date.now() + startMs;
    while (Date.now() < deadline) {
      if (hasEnded(child)) throw this.#ended('start agent');
      const status = await this.#greet();
      if (status?.source.complete && status.rows.pending === 0) return status;
      await sleep(10);
    }
    throw new Error(
      `start agent: it did not answer within ${startMs / 1000} s${this.#lastWords()}`,
    );
  }

  /** Its status if it answers by now; the first time it does, its events are followed from then on. */
  async #greet(): Promise<AgentStatus | undefined> {
    if (!this.#client) {
      try {
        this.#client = await ControlClient.connect(this.#options.socket);
      } catch {
        // It doesn't listen yet, or the socket is one that a killed agent left.
        return undefined;
      }
      // Ends with the agent, of which its process tells.
      this.#client.follow<AgentEvent>(this.#options.onEvent).catch(() => {});
    }
    return (await this.#ask((client) => client.request('status'))) as AgentStatus | undefined;
  }

  #hangUp(): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }

  #ended(what: string): Error {
    const { signalCode, exitCode } = this.#child!;
    const how = signalCode ?? `exit code ${exitCode}`;
    return new Error(`${what}: it ended with ${how}${this.#lastWords()}`);
  }

  #lastWords(): string {
    const words = this.#output.trim();
    return words === '' ? '' : `; its last words:\n${words}`;
  }
}

/** Returns once the process has ended and its parent, this process, has taken note. */
export async function gone(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, 'exit');
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
