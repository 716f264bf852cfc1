import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabNode } from '@heddle/lab';
import { program } from '../../tools/build.ts';
import { manifests, services } from '../catalog.ts';
import { agentStatus } from '../control.ts';

/** Services of two endpoints that the agent has room for when it isn't told of more. */
const roomByDefault = 30_000;
const largeMaps = { 'max-services': 131_072, 'max-backends': 131_072, 'max-slots': 262_144 };

/** The real agent on a lab's node, in the built form in which it is published (tools/build.ts). */
export class AgentProcess {
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly #socket: string;
  #ended: string | undefined;
  readonly startedMs = performance.now();

  /**
   * `folder` is for the log and the control socket. The maps have the agent's own sizes unless
   * `count` services need more.
   */
  constructor(node: LabNode, folder: string, manifestFolder: string, count: number) {
    this.#log = `${folder}/agent.log`;
    this.#socket = `${folder}/agent.sock`;
    const log = openSync(this.#log, 'w');
    const flags = {
      manifests: manifestFolder,
      node: node.name,
      cgroup: node.cgroup,
      bpffs: node.bpffs,
      socket: this.#socket,
      ...(count > roomByDefault ? largeMaps : {}),
    };
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    this.#child = node.spawn(process.execPath, [program, 'agent', ...args], {
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    this.#child.once('exit', (code, signal) => {
      this.#ended = `agent ended (${signal ?? code})`;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Waits until so many rows, and no others, are in force. */
  async inForce(rows: number): Promise<void> {
    const deadline = performance.now() + 120_000;
    for (;;) {
      if (this.#ended) throw new Error(`${this.#ended}: ${this.#lastLines()}`);
      const status = await agentStatus(this.#socket).catch(() => undefined);
      if (status?.source.complete && status.rows.done === rows && status.rows.pending === 0) {
        const services = status.datapath.maps.find(({ name }) => name === 'services');
        if (services?.entries === rows) return;
      }
      if (performance.now() > deadline) {
        const state = JSON.stringify(status?.rows);
        throw new Error(
          `wait for agent: ${rows} rows expected, it has ${state}: ${this.#lastLines()}`,
        );
      }
      await sleep(20);
    }
  }

  /** Milliseconds from the start to the moment at which the agent says that all is in force. */
  inForceAfterMs(): number {
    const line = readFileSync(this.#log, 'utf8')
      .split('\n')
      .find((text) => text.includes('manifests read'));
    if (line === undefined) throw new Error(`read agent's log: it never said that all is in force`);
    return Date.parse(JSON.parse(line).time) - performance.timeOrigin - this.startedMs;
  }

  /** Nanoseconds that the agent has spent on a processor, all threads. */
  cpuNs(): number {
    const tasks = `/proc/${this.pid}/task`;
    return readdirSync(tasks)
      .map((task) => Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]))
      .reduce((sum, ns) => sum + ns, 0);
  }

  /** VmRSS in bytes. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
  }

  async stop(): Promise<void> {
    if (this.#ended) return;
    this.#child.kill('SIGTERM');
    await once(this.#child, 'exit');
  }

  #lastLines(): string {
    return readFileSync(this.#log, 'utf8').trim().split('\n').slice(-3).join(' | ');
  }
}

const perFile = 500;

/** Writes the manifests of the first `count` services, many to a file, into a new folder. */
export function writeManifests(folder: string, count: number): void {
  mkdirSync(folder);
  const all = services(count);
  for (let at = 0; at < count; at += perFile) {
    const items = all.slice(at, at + perFile).flatMap((service) => manifests(service));
    const list = { apiVersion: 'v1', kind: 'List', items };
    writeFileSync(`${folder}/services-${at / perFile}.json`, JSON.stringify(list));
  }
}
