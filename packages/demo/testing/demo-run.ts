import assert from 'node:assert/strict';
import { type ChildProcess, type SpawnOptions, type StdioOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Bpf, BpfLink, type LinkInfo, LinuxBpf } from '@heddle/ebpf';
import { cgroupRoot } from '@heddle/lab';
import { inodeOfFd, openFile, type Platform, SysError } from '@heddle/sys';
import { eventually } from '@heddle/sys/testing/eventually';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const program = fileURLToPath(new URL('../src/main.ts', import.meta.url));

/** A demo process under test, with its output. Disposing it ends the process. */
export class DemoRun implements Disposable {
  readonly child: ChildProcess;
  readonly closed: Promise<{ exitCode: number | null; signal: string | null }>;
  stdout = '';
  stderr = '';

  constructor(
    command: string,
    args: readonly string[],
    stdio: StdioOptions,
    options: SpawnOptions = {},
  ) {
    const env = { ...process.env, NO_COLOR: '', ...options.env };
    this.child = spawn(command, args, { cwd: root, stdio, ...options, env });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.closed = once(this.child, 'close').then(([exitCode, signal]) => ({ exitCode, signal }));
  }

  /** Runs the demo as `npm start` does, but without npm. */
  static start(
    args: readonly string[],
    stdio: StdioOptions = 'pipe',
    options: SpawnOptions = {},
  ): DemoRun {
    return new DemoRun(process.execPath, [program, ...args], stdio, options);
  }

  static npmStart(args: readonly string[]): DemoRun {
    return new DemoRun('npm', ['start', '--', ...args], 'pipe');
  }

  /** Returns the process id of the demo, which npm may have started, once its lab exists. */
  async demoPid(): Promise<number> {
    const own = () => demosOnMachine().find((pid) => isDescendant(pid, this.child.pid!));
    await this.until(() => own() !== undefined, 'a lab');
    return own()!;
  }

  [Symbol.dispose](): void {
    // Not SIGKILL, so that the demo cleans up after a failed test too.
    if (this.child.exitCode === null) this.child.kill('SIGTERM');
  }

  /** Waits until `ready` returns true. Fails after 60 s. */
  async until(ready: () => boolean, what: string): Promise<void> {
    const detail = () => `stdout: ${this.stdout}; stderr: ${this.stderr}`;
    await eventually(what, ready, { ms: 60_000, stepMs: 20, detail });
  }
}

/** Returns the paths of the lab and the cgroup of the demo with this process id. */
export function pathsOf(pid: number) {
  return { lab: `/run/heddle/lab/demo-${pid}`, cgroup: `${cgroupRoot()}/heddle-lab-demo-${pid}` };
}

/** Returns the process ids of all demos on the machine that have a lab. */
function demosOnMachine(): number[] {
  if (!existsSync('/run/heddle/lab')) return [];
  return readdirSync('/run/heddle/lab')
    .map((name) => Number(/^demo-(\d+)$/.exec(name)?.[1]))
    .filter((pid) => pid > 0);
}

/** The ids of the links on a cgroup, and of their programs. */
export interface KernelObjects {
  readonly links: readonly number[];
  readonly programs: readonly number[];
}

/** Returns the kernel objects of the demo's agent. */
export function kernelObjectsOf(platform: Platform, pid: number): KernelObjects {
  const bpf = new LinuxBpf(platform);
  using directory = openFile(platform, `${pathsOf(pid).cgroup}/node1`);
  const cgroup = inodeOfFd(platform, directory.fd);
  const links: number[] = [];
  const programs: number[] = [];
  for (let id = bpf.nextId('link', 0); id !== undefined; id = bpf.nextId('link', id)) {
    const info = infoOf(bpf, id);
    if (info?.kind !== 'cgroup' || info.cgroupId !== cgroup) continue;
    links.push(id);
    programs.push(info.programId);
  }
  return { links, programs };
}

function infoOf(bpf: Bpf, id: number): LinkInfo | undefined {
  try {
    using link = BpfLink.fromId(bpf, id);
    return link.info;
  } catch (error) {
    // Another process's link, which was removed in between.
    if (error instanceof SysError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Fails unless nothing is left of the demo with this process id. */
export async function assertNothingLeft(
  platform: Platform,
  pid: number,
  objects?: KernelObjects,
): Promise<void> {
  assert.deepEqual(leftoversOf(pid), []);
  if (!objects) return;
  assert.ok(objects.links.length > 0, 'there were links');
  const bpf = new LinuxBpf(platform);
  const left = () => [
    ...objects.links.filter((id) => exists(bpf, 'link', id)).map((id) => `link ${id}`),
    ...objects.programs.filter((id) => exists(bpf, 'program', id)).map((id) => `program ${id}`),
  ];
  // The kernel frees them a moment after the last reference.
  await eventually('nothing is left', () => left().length === 0, {
    ms: 5000,
    stepMs: 50,
    detail: () => left().join(', '),
  });
}

function exists(bpf: Bpf, kind: 'link' | 'program', id: number): boolean {
  return bpf.nextId(kind, id - 1) === id;
}

/** Returns the processes, cgroups, mounts (of namespaces and pins) and files of that demo. */
export function leftoversOf(pid: number): string[] {
  const { lab, cgroup } = pathsOf(pid);
  const name = `heddle-lab-demo-${pid}`;
  const processes = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && cgroupOf(entry).includes(`/${name}/`))
    .map((entry) => `process ${entry}`);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`${lab}/`));
  const files = [lab, cgroup].filter((path) => existsSync(path));
  return [...processes, ...mounts, ...files];
}

/** Returns true if a process is `ancestor` or one of its descendants. */
function isDescendant(pid: number, ancestor: number): boolean {
  for (let at = pid; at > 1; ) {
    if (at === ancestor) return true;
    try {
      at = Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1]);
    } catch {
      return false;
    }
  }
  return false;
}

function cgroupOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    // The process has ended in between.
    return '';
  }
}
