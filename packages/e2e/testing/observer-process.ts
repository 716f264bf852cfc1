import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LabNode } from '@heddle/lab';
import type { NodeNetworkLab } from './node-network-lab.ts';

const program = fileURLToPath(import.meta.resolve('@heddle/cli/main'));

/** The observer of a node, as a process beside its agent. */
export class ObserverProcess implements AsyncDisposable {
  /** The path of the socket on which it serves flows. */
  readonly socket: string;
  readonly #process: ChildProcess;
  #log = '';

  private constructor(network: NodeNetworkLab, node: LabNode) {
    const agent = network.socketOf(node);
    this.socket = `${agent}.hubble`;
    const options = ['--socket', agent, '--bpffs', node.bpffs, '--listen', `unix://${this.socket}`];
    this.#process = node.spawn(process.execPath, [program, 'observer', ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process.stderr!.on('data', (data) => {
      this.#log += data;
    });
  }

  /** Starts it, and resolves when it listens. */
  static async start(network: NodeNetworkLab, node: LabNode): Promise<ObserverProcess> {
    const observer = new ObserverProcess(network, node);
    await network.until('the observer to listen', () => observer.log.includes('serves'));
    return observer;
  }

  /** All that it has written. */
  get log(): string {
    return this.#log;
  }

  /** Its exit code, or null while it runs. */
  get exitCode(): number | null {
    return this.#process.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }
}
