import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Platform } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { type Lab, processesIn } from '../src/index.ts';
import { labFolder } from '../src/run-folder.ts';

export const platform: Platform = nodePlatform();

/** Returns a name that no other run uses. */
export function uniqueName(word: string): string {
  return `test-${word}-${process.pid}`;
}

/** The parts of a lab outside of this process, none of which may be left after its removal. */
export interface Traces {
  readonly folder: string;
  readonly cgroup: string;
  /** `net:[n]` of each namespace. */
  readonly namespaces: readonly string[];
  readonly processes: readonly number[];
}

export function tracesOf(lab: Lab): Traces {
  const namespaces = lab.hosts.map((host) => {
    using namespace = host.openNamespace();
    return `net:[${namespace.inode}]`;
  });
  const processes = processesIn(lab.cgroup);
  return { folder: labFolder(lab.name), cgroup: lab.cgroup, namespaces, processes };
}

/** Asserts that nothing of a removed lab is left. */
export function assertNoTraces(traces: Traces): void {
  assert.equal(existsSync(traces.folder), false, `${traces.folder} is left`);
  assert.equal(existsSync(traces.cgroup), false, `${traces.cgroup} is left`);
  assert.deepEqual(traces.processes.filter(isRunning), [], 'processes are left');
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  assert.equal(mounts.includes(`${traces.folder}/`), false, 'mounts are left');
  for (const namespace of traces.namespaces) {
    assert.equal(mounts.includes(namespace), false, `${namespace} is still mounted`);
    assert.deepEqual(usersOf(namespace), [], `${namespace} is still in use`);
  }
}

function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // A zombie has ended; its parent has not waited for it yet.
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

function usersOf(namespace: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readlinkSync(`/proc/${pid}/ns/net`) === namespace;
    } catch {
      // The process has ended meanwhile.
      return false;
    }
  });
}

/** Returns all output of a process on stdout. */
export async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout!.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return text;
}
