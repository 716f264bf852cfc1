import type { ObjectReader } from '@heddle/objects';
import { isMissing, type Platform, pathExists, readDirectory, SysError } from '@heddle/sys';
import {
  IN_CLOSE_WRITE,
  IN_CREATE,
  IN_DELETE,
  IN_DELETE_SELF,
  IN_IGNORED,
  IN_MOVE_SELF,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_ONLYDIR,
  IN_Q_OVERFLOW,
  IN_UNMOUNT,
  Inotify,
  type InotifyEvent,
} from '@heddle/sys/net';
import { isLink, ManifestFileError, readManifest } from './manifest-file.ts';
import { isManifestName } from './manifest-name.ts';
import { ManifestSet } from './manifest-set.ts';
import type { ServerAddress, Source, SourceBatch, SourceProblem, SourceState } from './source.ts';

export interface FolderSourceOptions {
  /** Reads the objects of the manifests. */
  readonly reader: ObjectReader;
  /** Called from the event loop, never from within `openFolderSource`. */
  readonly onChange: (batch: SourceBatch) => void;
}

/** The time to wait for the rest of a file that cannot be used or is suddenly empty, as it may be half written. */
const graceMs = 1000;
const rereadMs = 50;
/** The time without changes to wait for after files disappear: they may return, or the whole folder may go. */
const settleMs = 50;
const longestSettleMs = 1000;
/** The files of a folder that was created or has returned may still be arriving. */
const returnSettleMs = 1000;
const lookForFolderMs = 250;
/** No event reports that a file can be read again (permissions, too many open files). */
const unreadableMs = 1000;
/** The time for which reading a whole folder may hold the event loop. */
const sliceNs = 10_000_000n;
/** The largest number of problems: a file of many documents can have as many, each a line of the log. */
const maxProblems = 100;

const folderMask =
  IN_CLOSE_WRITE |
  IN_CREATE |
  IN_MOVED_TO |
  IN_MOVED_FROM |
  IN_DELETE |
  IN_DELETE_SELF |
  IN_MOVE_SELF |
  IN_ONLYDIR;
const parentMask = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR;
const gone = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED;

/**
 * Reads the manifests of a folder (not of its subfolders) and watches it until disposed. A change is reported as
 * soon as its file was closed or renamed into place. Throws SysError when the kernel has no watch left; a folder
 * that does not exist is a problem in the batch, and the source waits for it.
 */
export function openFolderSource(
  platform: Platform,
  folder: string,
  options: FolderSourceOptions,
): Source {
  return new FolderSource(platform, folder, options);
}

/** Returns the first problems, and the number of the others. */
function shortened(problems: SourceProblem[]): SourceProblem[] {
  if (problems.length <= maxProblems) return problems;
  const message = `there are ${problems.length - maxProblems} more problems (heddle validate shows all)`;
  return [...problems.slice(0, maxProblems), { file: '', line: 0, message }];
}

class FolderSource implements Source {
  readonly content = 'manifests';
  readonly #platform: Platform;
  readonly #folder: string;
  readonly #name: string;
  readonly #parent: string;
  readonly #onChange: (batch: SourceBatch) => void;
  readonly #set: ManifestSet;
  readonly #inotify: Inotify;
  /** The watch of the folder; undefined while it does not exist. */
  #watch: number | undefined;
  #parentWatch: number | undefined;
  #readable: Disposable | undefined;
  /** The files that are left to read of the whole folder. */
  #toRead: string[] = [];
  /** Files that may be half written, and the times until which they count as such. */
  readonly #suspects = new Map<string, number>();
  /** Files that exist but could not be read. */
  readonly #unreadable = new Set<string>();
  /** Files that disappeared, but whose objects are kept for now. */
  readonly #missing = new Set<string>();
  #missingSinceMs = 0;
  #settleMs = settleMs;
  #complete = false;
  /** True while a folder that did not exist has not been read since. */
  #isReturning = false;
  #folderProblem: string | undefined;
  #reportedProblems = '';
  #lastEventMs: number | undefined;
  /** The phase, and the time at which it began. */
  #phase: Pick<SourceState, 'phase' | 'sinceMs'>;
  readonly #read = new Set<string>();
  readonly #timers = new Map<string, Disposable>();
  #disposed = false;

  constructor(platform: Platform, folder: string, { reader, onChange }: FolderSourceOptions) {
    this.#platform = platform;
    this.#folder = folder.replace(/(?<=.)\/+$/, '');
    const slash = this.#folder.lastIndexOf('/');
    this.#name = this.#folder.slice(slash + 1);
    this.#parent = slash < 0 ? '.' : slash === 0 ? '/' : this.#folder.slice(0, slash);
    this.#set = new ManifestSet(reader);
    this.#onChange = onChange;
    this.#phase = { phase: 'starting', sinceMs: platform.wallTimeMs() };
    this.#inotify = new Inotify(platform);
    this.#startTimer('look', 0, () => this.#lookForFolder());
  }

  get apiServers(): readonly ServerAddress[] {
    return [];
  }

  /** The manifests are read whole, so that every watch is served. */
  rewatch(): void {}

  /** A folder has no server. */
  setApiServers(): void {}

  get state(): SourceState {
    return {
      kind: 'folder',
      path: this.#folder,
      ...this.#phase,
      ...(this.#lastEventMs === undefined ? {} : { lastEventMs: this.#lastEventMs }),
      ...(this.#folderProblem === undefined ? {} : { reason: this.#folderProblem }),
    };
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#readable?.[Symbol.dispose]();
    for (const timer of this.#timers.values()) timer[Symbol.dispose]();
    this.#timers.clear();
    this.#inotify[Symbol.dispose]();
  }

  /** Watches the folder if it exists, and reads it if it is another one than before. */
  #lookForFolder(): void {
    // The parent reports that the folder, or a link in its place, is replaced.
    const parentWatch = this.#inotify.add(this.#parent, parentMask);
    if (this.#parentWatch !== undefined && this.#parentWatch !== parentWatch) {
      this.#inotify.remove(this.#parentWatch);
    }
    this.#parentWatch = parentWatch < 0 ? undefined : parentWatch;
    const watch = this.#inotify.add(this.#folder, folderMask);
    if (watch < 0) {
      if (this.#watch !== undefined) this.#inotify.remove(this.#watch);
      this.#watch = undefined;
      this.#isReturning = true;
      this.#toRead = [];
      this.#missing.clear();
      const why = new SysError('inotify_add_watch', -watch, `watch folder ${this.#folder}`);
      this.#folderProblem = `${why.message}; what is programmed stays`;
      this.#startTimer('look', lookForFolderMs, () => this.#lookForFolder());
      this.#listen();
      this.#report();
      return;
    }
    if (watch === this.#watch) return;
    if (this.#watch !== undefined) this.#inotify.remove(this.#watch);
    this.#watch = watch;
    this.#folderProblem = undefined;
    this.#readFolder();
  }

  /** Starts to read all files; events wait in the kernel until then. */
  #readFolder(): void {
    this.#readable?.[Symbol.dispose]();
    this.#readable = undefined;
    let names: string[];
    try {
      names = readDirectory(this.#platform, this.#folder)
        .filter(({ name, kind }) => kind !== 'directory' && isManifestName(name))
        .map(({ name }) => name);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#lose();
      return;
    }
    if (this.#isReturning && names.length === 0) {
      // An unmounted mount point is empty, too: it does not mean that all manifests were deleted.
      this.#folderProblem = `folder ${this.#folder} came empty: what is programmed stays until its first manifest`;
      this.#listen();
      this.#report();
      return;
    }
    this.#folderProblem = undefined;
    this.#settleMs = this.#isReturning ? returnSettleMs : settleMs;
    if (this.#isReturning) this.#startTimer('arrival', returnSettleMs, () => this.#report());
    this.#isReturning = false;
    const present = new Set(names);
    for (const name of this.#set.fileNames()) if (!present.has(name)) this.#miss(name);
    this.#toRead = names.sort().reverse();
    this.#readSlice();
  }

  #readSlice(): void {
    const end = this.#platform.monotonicNs() + sliceNs;
    while (this.#toRead.length > 0) {
      if (this.#platform.monotonicNs() > end) {
        this.#startTimer('slice', 0, () => this.#readSlice());
        return;
      }
      this.#readOne(this.#toRead.pop()!);
    }
    this.#listen();
    this.#report();
  }

  #listen(): void {
    this.#readable ??= this.#platform.onReadable(this.#inotify.fd, () => this.#onEvents());
  }

  #onEvents(): void {
    const events = this.#inotify.read();
    const changed = new Set<string>();
    const renamedFrom = new Map<number, string>();
    /** Old names by new name. */
    const renamed = new Map<string, string>();
    let reread = false;
    let look = false;
    for (const event of events) {
      const { watch, mask, cookie, name } = event;
      if (mask & IN_Q_OVERFLOW) reread = look = true;
      else if (watch === this.#parentWatch && watch !== this.#watch) {
        if (mask & gone || name === this.#name) look = true;
      } else if (watch !== this.#watch) {
        // An event of a folder that has been replaced.
      } else if (mask & gone) {
        this.#lose();
        return;
      } else if (name === '..data') reread = true;
      else if (isManifestName(name)) {
        if (mask & IN_MOVED_FROM) renamedFrom.set(cookie, name);
        const from = mask & IN_MOVED_TO ? renamedFrom.get(cookie) : undefined;
        if (from !== undefined) renamed.set(name, from);
        if (mask & (IN_MOVED_FROM | IN_DELETE)) changed.add(name);
        else if (mask & (IN_CLOSE_WRITE | IN_MOVED_TO) || this.#isWhole(event)) changed.add(name);
      }
    }
    if (this.#isReturning && changed.size > 0) reread = true;
    else for (const name of changed) this.#readOne(name, renamed.has(name));
    // A rename within the folder does not announce the folder's end, so that nothing has to wait.
    for (const name of renamed.values()) {
      if (this.#missing.delete(name)) this.#set.removeFile(name);
    }
    if (look) this.#lookForFolder();
    if (reread && this.#watch !== undefined) this.#readFolder();
    else if (this.#toRead.length === 0) this.#report();
  }

  /** Returns true if a file that was just created has its content: it is a link, not a new file. */
  #isWhole({ mask, name }: InotifyEvent): boolean {
    if (!(mask & IN_CREATE)) return false;
    return isLink(this.#platform, `${this.#folder}/${name}`);
  }

  /** `isWhole`: the file had this content under another name, so that it is not half written. */
  #readOne(name: string, isWhole = false): void {
    let bytes: Uint8Array;
    try {
      bytes = readManifest(this.#platform, `${this.#folder}/${name}`);
    } catch (error) {
      if (!(error instanceof SysError || error instanceof ManifestFileError)) throw error;
      if (isMissing(error)) {
        if (this.#set.hasFile(name)) this.#miss(name);
      } else if (!(error instanceof SysError && error.code === 'EISDIR')) {
        this.#set.setUnreadable(name, error.message);
        this.#unreadable.add(name);
        this.#startTimer('unreadable', unreadableMs, () => this.#reread(this.#unreadable));
      }
      return;
    }
    this.#missing.delete(name);
    this.#unreadable.delete(name);
    const manifest = this.#set.parse(name, bytes);
    if (!isWhole && this.#set.isDoubtful(name, manifest)) {
      const now = this.#nowMs();
      const until = this.#suspects.get(name) ?? now + graceMs;
      this.#suspects.set(name, until);
      if (now < until) {
        this.#startTimer('suspects', rereadMs, () => this.#reread(this.#suspects.keys()));
        return;
      }
    }
    this.#suspects.delete(name);
    if (this.#set.accept(name, manifest)) this.#read.add(name);
  }

  #reread(names: Iterable<string>): void {
    for (const name of [...names]) this.#readOne(name);
    if (this.#toRead.length === 0) this.#report();
  }

  #miss(name: string): void {
    const now = this.#nowMs();
    if (this.#missing.size === 0) this.#missingSinceMs = now;
    this.#missing.add(name);
    this.#suspects.delete(name);
    this.#unreadable.delete(name);
    const left = this.#missingSinceMs + longestSettleMs - now;
    const wait = Math.max(0, Math.min(this.#settleMs, left));
    this.#startTimer('settle', wait, () => this.#settle());
  }

  /** Removes files that disappeared, unless the folder disappeared, too. */
  #settle(): void {
    const watch = this.#watch;
    this.#lookForFolder();
    if (this.#watch !== watch) return;
    if (this.#toRead.length > 0) {
      this.#startTimer('settle', settleMs, () => this.#settle());
      return;
    }
    this.#settleMs = settleMs;
    for (const name of [...this.#missing]) {
      this.#missing.delete(name);
      if (pathExists(this.#platform, `${this.#folder}/${name}`)) this.#readOne(name);
      else this.#set.removeFile(name);
    }
    this.#report();
  }

  /** The folder was removed or replaced: its objects stay until it can be read again. */
  #lose(): void {
    if (this.#watch !== undefined) this.#inotify.remove(this.#watch);
    this.#watch = undefined;
    this.#missing.clear();
    this.#isReturning = true;
    this.#lookForFolder();
  }

  #report(): void {
    const changes = this.#set.takeChanges();
    if (changes.length > 0) this.#lastEventMs = this.#platform.wallTimeMs();
    const isReading = this.#toRead.length > 0 || this.#timers.has('arrival');
    const phase = this.#folderProblem ? 'disconnected' : isReading ? 'starting' : 'following';
    if (phase !== this.#phase.phase) {
      this.#phase = { phase, sinceMs: this.#platform.wallTimeMs() };
    }
    const wasComplete = this.#complete;
    this.#complete ||=
      this.#watch !== undefined &&
      !this.#isReturning &&
      !isReading &&
      this.#suspects.size === 0 &&
      this.#set.isSound;
    const problems = shortened(this.#set.problems());
    if (this.#folderProblem !== undefined) {
      problems.unshift({ file: this.#folder, line: 0, message: this.#folderProblem });
    }
    const said = JSON.stringify(problems);
    const notes = [...this.#read].flatMap((name) => this.#set.notes(name));
    this.#read.clear();
    const isNews =
      changes.length > 0 ||
      notes.length > 0 ||
      said !== this.#reportedProblems ||
      wasComplete !== this.#complete;
    if (!isNews) return;
    this.#reportedProblems = said;
    this.#onChange({ changes, complete: this.#complete, problems, notes });
  }

  /** Starts the timer of a purpose; a second start postpones it. */
  #startTimer(purpose: string, milliseconds: number, fire: () => void): void {
    if (this.#disposed) return;
    this.#timers.get(purpose)?.[Symbol.dispose]();
    const timer = this.#platform.setTimer(milliseconds, () => {
      this.#timers.delete(purpose);
      fire();
    });
    this.#timers.set(purpose, timer);
  }

  #nowMs(): number {
    return Number(this.#platform.monotonicNs() / 1_000_000n);
  }
}
