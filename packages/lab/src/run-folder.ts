import { randomUUID } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { PodConnection } from './lab-host.ts';

/** The folder of all labs, with one folder for each: other processes find them there. */
export const labsFolder = '/run/heddle/lab';

/** The content of a lab's state.json. */
export interface LabState {
  readonly version: 1;
  readonly name: string;
  /** Distinguishes this lab from earlier and later ones of the same name. */
  readonly id: string;
  /** A lab with `keep` outlives its owner; other labs are removed once the owner has ended. */
  readonly keep: boolean;
  readonly owner: Owner;
  /** The folder of the lab's cgroup. */
  readonly cgroup: string;
  readonly network: NetworkState;
  readonly nodes: readonly NodeState[];
  /** The number of outside hosts. */
  readonly outside: number;
}

/** Settings of the network, for nodes and pods that are added later. */
export interface NetworkState {
  readonly mtu: number;
  readonly pathMtu: number;
  readonly podPathMtu: number;
  readonly forwarding: boolean;
  readonly podRoutes: boolean;
  readonly farFrom: number;
  readonly netkitFrom: number;
}

export interface NodeState {
  readonly name: string;
  readonly number: number;
  readonly pods: readonly PodState[];
}

export interface PodState {
  readonly name: string;
  readonly number: number;
  /** Absent for a pod that the lab has connected itself. */
  readonly connection?: PodConnection;
}

/** Identifies a process, also after its id is used again. */
export interface Owner {
  readonly pid: number;
  /** Start time in clock ticks since boot (proc(5), /proc/pid/stat field 22). */
  readonly startTime: number;
  readonly boot: string;
}

export function labFolder(name: string): string {
  return `${labsFolder}/${name}`;
}

export function thisProcess(): Owner {
  return { pid: process.pid, startTime: startTimeOf(process.pid)!, boot: bootId() };
}

export function isAlive(owner: Owner): boolean {
  return owner.boot === bootId() && startTimeOf(owner.pid) === owner.startTime;
}

export function sameBoot(owner: Owner): boolean {
  return owner.boot === bootId();
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function startTimeOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field, the name of the command in brackets, may contain any characters.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended; its parent has not waited for it, as init in a container may never do.
    return fields[0] === 'Z' ? undefined : Number(fields[19]);
  } catch {
    // For whatever reason, there is no such process.
    return undefined;
  }
}

// Folders that are being created or removed are named `.<word>_<pid>_<start time>_<boot>_<id>`. Renaming
// a folder is atomic, so that one of two processes does the work, and a third one sees whether that
// process is alive.

/** Creates the folder of a new lab with its state in one step. Throws an Error when the name is taken. */
export function createFolder(state: LabState): void {
  const making = temporaryName('new', state.owner);
  mkdirSync(making, { recursive: true, mode: 0o700 });
  writeFileSync(`${making}/state.json`, JSON.stringify(state));
  try {
    renameSync(making, labFolder(state.name));
  } catch (error) {
    rmSync(making, { recursive: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    const owner = readState(state.name)?.owner.pid;
    throw new Error(
      `create lab ${state.name}: it exists already (made by process ${owner}); remove it with \`heddle lab down\` or choose another name`,
    );
  }
}

/** Returns the state of a lab, or undefined when there is none of that name. */
export function readState(name: string): LabState | undefined {
  return readStateIn(labFolder(name));
}

function readStateIn(folder: string): LabState | undefined {
  let text: string;
  try {
    text = readFileSync(`${folder}/state.json`, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return JSON.parse(text) as LabState;
}

export function writeState(state: LabState): void {
  const path = `${labFolder(state.name)}/state.json`;
  writeFileSync(`${path}.new`, JSON.stringify(state));
  renameSync(`${path}.new`, path);
}

/** A folder that this process removes, and the state of its lab. */
export interface RemovedFolder {
  readonly path: string;
  readonly state: LabState | undefined;
}

/** Renames the folder of a lab for its removal; returns undefined when there is none. */
export function renameForRemoval(name: string): RemovedFolder | undefined {
  return renameFolder(labFolder(name));
}

/** Renames the folders that ended processes have left half created or half removed. */
export function renameAbandonedFolders(): RemovedFolder[] {
  const renamed: RemovedFolder[] = [];
  for (const entry of entriesOf(labsFolder)) {
    const owner = ownerOfTemporary(entry);
    const folder = owner && !isAlive(owner) ? renameFolder(`${labsFolder}/${entry}`) : undefined;
    if (folder) renamed.push(folder);
  }
  return renamed;
}

function renameFolder(folder: string): RemovedFolder | undefined {
  const path = temporaryName('old', thisProcess());
  try {
    renameSync(folder, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return { path, state: readStateIn(path) };
}

/** Returns the names of all labs on this machine. */
export function labNames(): string[] {
  return entriesOf(labsFolder).filter((entry) => !entry.startsWith('.'));
}

/** Removes the folders above the labs when no lab is left. */
export function removeEmptyParents(): void {
  for (const path of [labsFolder, labsFolder.slice(0, labsFolder.lastIndexOf('/'))]) {
    try {
      rmdirSync(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Other processes use the folder or have removed it.
      if (code === 'ENOTEMPTY' || code === 'ENOENT') return;
      throw error;
    }
  }
}

function temporaryName(word: 'new' | 'old', owner: Owner): string {
  const { pid, startTime, boot } = owner;
  return `${labsFolder}/.${word}_${pid}_${startTime}_${boot}_${randomUUID()}`;
}

function ownerOfTemporary(entry: string): Owner | undefined {
  const match = /^\.(?:new|old)_(\d+)_(\d+)_([^_]+)_/.exec(entry);
  return match
    ? { pid: Number(match[1]), startTime: Number(match[2]), boot: match[3]! }
    : undefined;
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
