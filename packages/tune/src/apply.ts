import { isNetlinkError } from '@heddle/netlink';
import { SysError } from '@heddle/sys';
import { type Change, keyOf, type Target } from './check.ts';
import { type Entry, emptyJournal, type JournalStore } from './journal.ts';
import type { Settings } from './settings.ts';

/** The result for one setting. */
export interface Outcome {
  readonly target: Target;
  readonly before: string;
  readonly after: string;
  /** The reason why it was not changed. */
  readonly problem?: string;
}

/** Returns the changes of several findings, each target once, the last value. */
export function distinctChanges(changes: readonly Change[]): Change[] {
  return [...new Map(changes.map((change) => [keyOf(change.target), change])).values()];
}

/**
 * Makes changes. The values from before are in the journal first, so that a revert restores them wherever
 * this was interrupted; those of an earlier call stay. Throws Error if the journal can't be saved, and has
 * changed nothing then.
 */
export function applyChanges(
  changes: readonly Change[],
  settings: Settings,
  store: JournalStore,
): Outcome[] {
  const journal = store.load();
  if (journal.reverting) {
    throw new Error('apply changes: a revert was interrupted; run heddle tune --revert first');
  }
  const entries = new Map(journal.entries.map((entry) => [keyOf(entry.target), entry]));
  const outcomes: Outcome[] = [];
  const due: { change: Change; before: string }[] = [];
  for (const change of distinctChanges(changes)) {
    const { target, value } = change;
    const before = attempt(() => settings.read(target));
    if ('problem' in before) {
      outcomes.push({ target, before: '', after: value, problem: before.problem });
      continue;
    }
    const known = entries.get(keyOf(target));
    entries.set(keyOf(target), { target, before: known?.before ?? before.value, after: value });
    due.push({ change, before: before.value });
  }
  if (due.length === 0) return outcomes;
  store.save({ entries: [...entries.values()], reverting: false });
  for (const { change, before } of due) {
    const { target, value } = change;
    const written = attempt(() => settings.write(target, value));
    const problem = 'problem' in written ? { problem: written.problem } : {};
    outcomes.push({ target, before, after: value, ...problem });
  }
  forgetUnchanged(settings, store);
  return outcomes;
}

/** Removes the entries of changes that the kernel has refused. */
function forgetUnchanged(settings: Settings, store: JournalStore): void {
  const { entries } = store.load();
  const isChanged = ({ target, before, after }: Entry) => {
    const now = attempt(() => settings.read(target));
    return before === after || 'problem' in now || now.value !== before;
  };
  store.save({ entries: entries.filter(isChanged), reverting: false });
}

/**
 * Restores the values from before all changes. A value that another program has set since stays, with a
 * problem that reports it. Can be repeated after an interruption. Throws Error if the journal can't be read or saved.
 */
export function revertChanges(settings: Settings, store: JournalStore): Outcome[] {
  const journal = store.load();
  const outcomes: Outcome[] = [];
  // The kernel changes some settings along with others, so all are read before the first is written.
  const due = journal.entries.filter(({ target, before, after }) => {
    if (journal.reverting) return true;
    const now = attempt(() => settings.read(target));
    if ('problem' in now) {
      if (!now.isGone)
        outcomes.push({ target, before: after, after: before, problem: now.problem });
      return false;
    }
    if (now.value === after) return true;
    if (now.value !== before) {
      const problem = 'another program has changed it since, so it stays';
      outcomes.push({ target, before: now.value, after: before, problem });
    }
    return false;
  });
  store.save(due.length === 0 ? emptyJournal : { entries: due, reverting: true });
  const left: Entry[] = [];
  for (const entry of due) {
    const { target, before, after } = entry;
    const written = attempt(() => settings.write(target, before));
    const isFailed = 'problem' in written && !written.isGone;
    if (isFailed) left.push(entry);
    const problem = isFailed ? { problem: written.problem } : {};
    outcomes.push({ target, before: after, after: before, ...problem });
  }
  store.save({ entries: left, reverting: left.length > 0 });
  return outcomes;
}

type Attempt<Value> =
  | { readonly value: Value }
  /** `isGone`: the network interface does not exist any more, and its settings have gone with it. */
  | { readonly problem: string; readonly isGone: boolean };

function attempt<Value>(work: () => Value): Attempt<Value> {
  try {
    return { value: work() };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { problem: error.message, isGone: isGone(error) };
  }
}

function isGone(error: Error): boolean {
  if (isNetlinkError(error, 'ENODEV')) return true;
  return error instanceof SysError && ['ENOENT', 'ENODEV'].includes(error.code);
}
