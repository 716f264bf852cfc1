import {
  decodeUtf8,
  encodeUtf8,
  isMissing,
  makeDirectory,
  type Platform,
  readFile,
  removeFile,
  renamePath,
  writeFile,
} from '@heddle/sys';
import type { Target } from './check.ts';

/** The file with the values from before the changes. It disappears at a restart of the node, as the changes do. */
export const defaultJournal = '/run/heddle/tune.json';

/** A changed setting with its values before and after. */
export interface Entry {
  readonly target: Target;
  readonly before: string;
  readonly after: string;
}

/** The changes that were made, or were about to be made, in their order. */
export interface Journal {
  readonly entries: readonly Entry[];
  /** True while the entries are being restored: all of them are due then, whatever their values are now. */
  readonly reverting: boolean;
}

export const emptyJournal: Journal = { entries: [], reverting: false };

/** Loads and saves the journal. Both throw Error. */
export interface JournalStore {
  load(): Journal;
  /** Replaces the journal at once; an empty one removes it. */
  save(journal: Journal): void;
}

/** Returns the journal in a file. */
export function journalFile(platform: Platform, path: string): JournalStore {
  return {
    load() {
      let text: string;
      try {
        text = decodeUtf8(readFile(platform, path));
      } catch (error) {
        if (isMissing(error)) return emptyJournal;
        throw error;
      }
      return parseJournal(text, path);
    },
    save(journal) {
      if (journal.entries.length === 0) {
        removeFile(platform, path);
        return;
      }
      makeDirectory(platform, path.replace(/\/[^/]*$/, ''), 0o755);
      const written = `${path}.new`;
      writeFile(platform, written, encodeUtf8(`${JSON.stringify(journal, null, 2)}\n`));
      renamePath(platform, written, path);
    },
  };
}

/** Reads the text of a journal. Throws Error. */
export function parseJournal(text: string, path: string): Journal {
  try {
    const { entries, reverting } = JSON.parse(text) as Journal;
    const isSound =
      Array.isArray(entries) &&
      entries.every(
        ({ target, before, after }) =>
          kinds.has(target?.kind) && typeof before === 'string' && typeof after === 'string',
      );
    if (isSound) return { entries, reverting: reverting === true };
  } catch {
    // The sentence below fits this, too.
  }
  throw new Error(
    `read the earlier values of settings: ${path} was changed by another program; remove it, and restore the settings by hand`,
  );
}

const kinds: ReadonlySet<string> = new Set(['sysctl', 'file', 'feature', 'qdisc']);
