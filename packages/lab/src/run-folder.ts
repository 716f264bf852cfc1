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

/** Where labs keep what must be found by other processes: one folder each. */
export const labsFolder = '/run/heddle/lab';

/** What state.json of a lab says. */
export interface LabState {
  readonly version: 1;
  readonly name: string;
  /** Tells this lab from an earlier or later one of the same name. */
  readonly id: string;
  /** A lab that is kept outlives its owner; any other one is removed once the owner is gone. */
  readonly keep: boolean;
  readonly owner: Owner;
  /** Folder of the lab's cgroup. */
  readonly cgroup: string;
  readonly network: NetworkState;
  readonly nodes: readonly NodeState[];
  /** How many outside hosts. */
  readonly outside: number;
}

/** What later nodes and pods are made like. */
export interface NetworkState {
  readonly mtu: number;
  readonly pathMtu: number;
  readonly podPathMtu: number;
  readonly forwarding: boolean;
}

export interface NodeState {
  readonly name: string;
  readonly number: number;
  readonly pods: readonly PodState[];
}

export interface PodState {
  readonly name: string;
  readonly number: number;
}

/** A process, told apart from later ones with the same id. */
export interface Owner {
  readonly pid: number;
  /** In clock ticks since boot (proc(5), /proc/pid/stat field 22). */
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
    // The second field, the command's name in brackets, may contain anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // It has ended, but its parent hasn't asked; as init in a container never may.
    return fields[0] === 'Z' ? undefined : Number(fields[19]);
  } catch {
    // Whatever the reason, there is no such process to be found.
    return undefined;
  }
}

// Folders in the making and in removal are named `.<word>_<pid>_<start time>_<boot>_<id>`: moving a folder there
// is atomic, so that of two processes one does the work, and a third sees whether that one is alive.

/** Makes the folder of a new lab, state included, in one step. Throws when the name is taken. */
export function claimFolder(state: LabState): void {
  const making = passingName('new', state.owner);
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

/** The state of a lab, or undefined when there is none of that name. */
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

/** A folder to be taken apart by this process, and what its lab was. */
export interface DoomedFolder {
  readonly path: string;
  readonly state: LabState | undefined;
}

/** Takes the lab's folder away from its name; undefined when there is none. */
export function doomFolder(name: string): DoomedFolder | undefined {
  return doom(labFolder(name));
}

/** Takes what dead processes left half made or half removed. */
export function doomAbandonedFolders(): DoomedFolder[] {
  const doomed: DoomedFolder[] = [];
  for (const entry of entriesOf(labsFolder)) {
    const owner = passingOwner(entry);
    const folder = owner && !isAlive(owner) ? doom(`${labsFolder}/${entry}`) : undefined;
    if (folder) doomed.push(folder);
  }
  return doomed;
}

function doom(folder: string): DoomedFolder | undefined {
  const path = passingName('old', thisProcess());
  try {
    renameSync(folder, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return { path, state: readStateIn(path) };
}

/** Names of the labs there are, whoever owns them. */
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
      // In use by others, or removed by them.
      if (code === 'ENOTEMPTY' || code === 'ENOENT') return;
      throw error;
    }
  }
}

function passingName(word: 'new' | 'old', owner: Owner): string {
  const { pid, startTime, boot } = owner;
  return `${labsFolder}/.${word}_${pid}_${startTime}_${boot}_${randomUUID()}`;
}

function passingOwner(entry: string): Owner | undefined {
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
