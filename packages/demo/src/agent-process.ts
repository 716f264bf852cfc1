import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type {
  AgentEvent,
  AgentStatus,
  NodeEntry,
  ServiceDetail,
  ServiceEntry,
} from '@heddle/agent';
import { ControlClient } from '@heddle/control';
import type { LabNode } from '@heddle/lab';
import type { DemoAgent } from './engine.ts';
import type { AgentState } from './state.ts';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));
const startMs = 20_000;
const keptOutput = 2000;

/** Callbacks for what happens to the agent. */
export interface AgentCallbacks {
  readonly onEvent: (event: AgentEvent) => void;
  readonly onState: (state: AgentState) => void;
  /** Called when the agent ends without having been killed. */
  readonly onCrash: (error: Error) => void;
}

export interface AgentProcessOptions extends AgentCallbacks {
  readonly node: LabNode;
  readonly manifests: string;
  /** The folder for its configuration, sockets and CNI files. It exists. */
  readonly folder: string;
  /** True if it observes all connections, for the web page. */
  readonly visibility: boolean;
}

/** Runs the agent as a process on a node and connects to its control socket. */
export class AgentProcess implements DemoAgent {
  readonly #options: AgentProcessOptions;
  /** Its control socket. */
  readonly socket: string;
  #child: ChildProcess | undefined;
  #client: ControlClient | undefined;
  #output = '';

  constructor(options: AgentProcessOptions) {
    this.#options = options;
    this.socket = `${options.folder}/agent.sock`;
  }

  /** The socket on which it answers the CNI plug-in. */
  get cniSocket(): string {
    return `${this.#options.folder}/cni.sock`;
  }

  /**
   * Starts the agent, and resolves when it responds and has read all manifests. Rejects with an
   * Error that has its last output if it ends instead.
   */
  async start(): Promise<AgentStatus> {
    const { node, manifests, folder, visibility, onState } = this.#options;
    const config = `${folder}/config.yaml`;
    const cni = { binDir: `${folder}/bin`, configDir: `${folder}/net.d`, socket: this.cniSocket };
    writeFileSync(config, JSON.stringify({ network: true, visibility, cni }));
    const child = node.spawn(
      process.execPath,
      [
        ...[program, 'agent', '--config', config, '--manifests', manifests, '--node', node.name],
        ...['--cgroup', node.cgroup, '--bpffs', node.bpffs, '--socket', this.socket],
      ],
      // A separate process group, so that Ctrl-C in the terminal reaches only the demo.
      { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
    );
    this.#child = child;
    this.#output = '';
    child.stderr!.on('data', (data: Uint8Array) => {
      this.#output = `${this.#output}${data}`.slice(-keptOutput);
    });
    child.once('exit', () => {
      if (this.#client) this.#options.onCrash(this.#ended('run agent'));
      this.#disconnect();
    });
    onState({ phase: 'starting', adopted: false, ...this.#pid() });
    const status = await this.#waitForAnswer(child);
    onState({ phase: 'running', adopted: status.datapath.adopted, ...this.#pid() });
    return status;
  }

  /** Kills the agent with SIGKILL, and resolves when the process has ended. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#disconnect();
    child.kill('SIGKILL');
    await exited(child);
    this.#options.onState({ phase: 'killed', adopted: false });
  }

  /** Resolves when the agent's process has ended. */
  async exited(): Promise<void> {
    this.#disconnect();
    if (this.#child) await exited(this.#child);
  }

  /** Returns the rows of all services, or undefined while no agent responds. */
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

  /** Returns the modes of the paths to other nodes, by the node's name. */
  async paths(): Promise<ReadonlyMap<string, string>> {
    const paths = await this.#ask(async (client) => {
      const entries: [string, string][] = [];
      for await (const { name, mode } of client.items<NodeEntry>('node.list')) {
        entries.push([name, mode]);
      }
      return new Map(entries);
    });
    return paths ?? new Map();
  }

  #pid(): { pid?: number } {
    const pid = this.#child?.pid;
    return pid === undefined ? {} : { pid };
  }

  /** Returns the answer, or undefined if the agent was killed in between. */
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

  async #waitForAnswer(child: ChildProcess): Promise<AgentStatus> {
    const deadline = Date.now() + startMs;
    while (Date.now() < deadline) {
      if (hasEnded(child)) throw this.#ended('start agent');
      const status = await this.#requestStatus();
      if (status?.source.complete && status.rows.pending === 0) return status;
      await sleep(10);
    }
    throw new Error(
      `start agent: it did not answer within ${startMs / 1000} s${this.#lastOutput()}`,
    );
  }

  /**
   * Returns the agent's status, or undefined if it doesn't respond yet. The first connection also
   * subscribes to events.
   */
  async #requestStatus(): Promise<AgentStatus | undefined> {
    if (!this.#client) {
      try {
        this.#client = await ControlClient.connect(this.socket);
      } catch {
        // It doesn't listen yet, or a killed agent left the socket.
        return undefined;
      }
      // The subscription ends with the agent, whose exit the process reports.
      this.#client.follow<AgentEvent>(this.#options.onEvent).catch(() => {});
    }
    return (await this.#ask((client) => client.request('status'))) as AgentStatus | undefined;
  }

  #disconnect(): void {
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }

  #ended(what: string): Error {
    const { signalCode, exitCode } = this.#child!;
    const cause = signalCode ?? `exit code ${exitCode}`;
    return new Error(`${what}: it ended with ${cause}${this.#lastOutput()}`);
  }

  #lastOutput(): string {
    const output = this.#output.trim();
    return output === '' ? '' : `; its last output:\n${output}`;
  }
}

/** Resolves when the child process has ended and its exit is known here. */
export async function exited(child: ChildProcess): Promise<void> {
  if (!hasEnded(child)) await once(child, 'exit');
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}
