import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentStatus } from '@heddle/agent';
import type { LabNode } from '@heddle/lab';
import { program } from '../../tools/build.ts';
import { manifests, type Service, services } from '../catalog.ts';
import { agentEvents, agentStatus } from '../control.ts';
import type { SiteName } from '../sites.ts';

/** Flags of the agent by name. */
export type AgentFlags = Readonly<Record<string, string | number>>;

/** The number of backends that the agent has room for by default, less a reserve for removed ones. */
const roomByDefault = 60_000;

/** Flags for the sizes of the maps, where the agent's own don't suffice for so many. */
export function sizeFlags(services: number, endpoints: number): AgentFlags {
  const backends = services * endpoints;
  if (backends <= roomByDefault) return {};
  return { 'max-services': 131_072, 'max-backends': 131_072, 'max-slots': 262_144 };
}

/** The real agent on a lab's node, in the built form in which it is published (tools/build.ts). */
export class AgentProcess {
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly #socket: string;
  #ended: string | undefined;
  readonly startedMs = performance.now();
  /** The same on CLOCK_MONOTONIC, which all processes share. */
  readonly startedNs = Number(process.hrtime.bigint());

  /**
   * `folder` is for the log and the control socket; `given` are the agent's other flags; `build` is the built
   * program to run, this checkout's by default.
   */
  constructor(node: LabNode, folder: string, given: AgentFlags, build = program) {
    this.#log = `${folder}/agent.log`;
    this.#socket = `${folder}/agent.sock`;
    const log = openSync(this.#log, 'w');
    const flags = {
      ...given,
      node: node.name,
      cgroup: node.cgroup,
      bpffs: node.bpffs,
      socket: this.#socket,
    };
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    this.#child = node.spawn(process.execPath, [build, 'agent', ...args], {
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

  get socket(): string {
    return this.#socket;
  }

  /**
   * Waits until so many rows, and no others, are programmed, each with so many frontends but for `others`, which
   * are no services.
   */
  async programmed(rows: number, frontends = 1, others = 0): Promise<void> {
    const all = (rows - others) * frontends;
    await this.#until(`${rows} rows`, all, (status) => status.rows.done === rows);
  }

  /** Waits until everything that was read is programmed, `services` of one frontend each included. */
  async allProgrammed(services: number): Promise<void> {
    await this.#until('all rows', services, (status) => status.rows.failed === 0);
  }

  async #until(
    what: string,
    frontends: number,
    isReached: (status: AgentStatus) => boolean,
  ): Promise<void> {
    const deadline = performance.now() + 120_000;
    for (;;) {
      if (this.#ended) throw new Error(`${this.#ended}: ${this.#lastLines()}`);
      const status = await agentStatus(this.#socket).catch(() => undefined);
      if (status?.source.complete && status.rows.pending === 0 && isReached(status)) {
        const services = status.datapath.maps.find(({ name }) => name === 'services');
        if (services?.entries === frontends) return;
      }
      if (performance.now() > deadline) {
        const state = JSON.stringify(status?.rows);
        throw new Error(`wait for agent: ${what} expected, it has ${state}: ${this.#lastLines()}`);
      }
      await sleep(20);
    }
  }

  /** Looks until there is something to be found. Throws an Error when the agent ends or never does it. */
  async first<T>(look: () => T | undefined): Promise<T> {
    const deadline = performance.now() + 120_000;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#ended) throw new Error(`${this.#ended}: ${this.#lastLines()}`);
      if (performance.now() > deadline) throw new Error(`wait for agent: ${this.#lastLines()}`);
      await sleep(20);
    }
  }

  /** Milliseconds from the start to the moment at which the agent reports that all is programmed. */
  programmedAfterMs(): number {
    const line = readFileSync(this.#log, 'utf8')
      .split('\n')
      .find((text) => text.includes('manifests read'));
    if (line === undefined)
      throw new Error(`read agent's log: it never reported that all is programmed`);
    return Date.parse(JSON.parse(line).time) - performance.timeOrigin - this.startedMs;
  }

  /** Returns the number of events since the start, mostly one for each row that the agent has programmed. */
  events(): Promise<number> {
    return agentEvents(this.#socket);
  }

  /** Returns the CPU time of all the agent's threads in nanoseconds. */
  cpuNs(): number {
    const tasks = `/proc/${this.pid}/task`;
    return readdirSync(tasks)
      .map((task) => Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]))
      .reduce((sum, ns) => sum + ns, 0);
  }

  /** VmRSS in bytes. */
  residentBytes(): number {
    return 1024 * statusField(this.pid, 'VmRSS');
  }

  /** Returns the most that VmRSS ever was, in bytes. */
  peakBytes(): number {
    return 1024 * statusField(this.pid, 'VmHWM');
  }

  /** Returns the number of times that its threads have been scheduled so far. */
  wakeUps(): number {
    return readdirSync(`/proc/${this.pid}/task`)
      .map((task) => statusField(`${this.pid}/task/${task}`, 'voluntary_ctxt_switches'))
      .reduce((sum, count) => sum + count, 0);
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

/** Returns a number in a process' or thread's status. */
function statusField(process: number | string, field: string): number {
  const status = readFileSync(`/proc/${process}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)![1]);
}

const perFile = 500;

/** Writes the manifests of a site's first `count` services, many to a file, into a new folder. */
export function writeManifests(folder: string, count: number, site: SiteName): void {
  writeServices(folder, services(count, site));
}

/** The same of any services. */
export function writeServices(folder: string, all: readonly Service[]): void {
  mkdirSync(folder);
  for (let at = 0; at < all.length; at += perFile) {
    const items = all
      .slice(at, at + perFile)
      .flatMap((service) => manifests(service, service.endpoints));
    const list = { apiVersion: 'v1', kind: 'List', items };
    writeFileSync(`${folder}/services-${at / perFile}.json`, JSON.stringify(list));
  }
}
