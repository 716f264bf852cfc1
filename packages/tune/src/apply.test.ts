import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { applyChanges, revertChanges } from './apply.ts';
import { type Change, keyOf, setSysctl, type Target } from './check.ts';
import { emptyJournal, type Journal, type JournalStore, parseJournal } from './journal.ts';
import type { Settings } from './settings.ts';

/** Settings in memory, of which `master` sets all others when it changes, as the kernel does with forwarding. */
class Node {
  readonly values = new Map<string, string>();
  journal: Journal = emptyJournal;
  /** The number of writes until the process is killed. */
  left = Number.POSITIVE_INFINITY;

  readonly settings: Settings = {
    read: (target) => this.values.get(keyOf(target)) ?? this.#fail(target),
    write: (target, value) => {
      this.#step();
      const key = keyOf(target);
      if (!this.values.has(key)) this.#fail(target);
      if (key === 'sysctl master' && this.values.get(key) !== value) {
        for (const each of this.values.keys()) this.values.set(each, value);
      }
      this.values.set(key, value);
    },
  };

  readonly store: JournalStore = {
    load: () => this.journal,
    save: (journal) => {
      this.#step();
      this.journal = journal;
    },
  };

  #step(): void {
    if (this.left-- <= 0) throw new InterruptedError();
  }

  #fail(target: Target): never {
    throw new Error(`no setting ${keyOf(target)}`);
  }
}

/** Not an Error, so that nothing catches it, like a signal. */
class InterruptedError {}

function interruptible(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof InterruptedError)) throw error;
  }
}

const names = ['master', 'a', 'b', 'c'];
const change = (name: string, value: string): Change => setSysctl(name, value);

test('a revert restores all, wherever changes and earlier reverts were interrupted', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('0', '1'), { minLength: 4, maxLength: 4 }),
      fc.array(fc.nat(8), { maxLength: 3 }),
      fc.array(fc.nat(8), { maxLength: 3 }),
      (initial, applyStops, revertStops) => {
        const node = new Node();
        names.forEach((name, i) => {
          node.values.set(`sysctl ${name}`, initial[i]!);
        });
        const before = [...node.values];
        const changes = names.map((name) => change(name, '1'));
        const apply = () => applyChanges(changes, node.settings, node.store);
        for (const stop of applyStops) {
          node.left = stop;
          interruptible(apply);
        }
        for (const stop of revertStops) {
          node.left = stop;
          interruptible(() => revertChanges(node.settings, node.store));
        }
        node.left = Number.POSITIVE_INFINITY;
        revertChanges(node.settings, node.store);
        assert.deepEqual([...node.values], before);
        assert.deepEqual(node.journal.entries, []);
      },
    ),
    { numRuns: 2000 },
  );
});

test('a second call keeps the values from before the first', () => {
  const node = new Node();
  node.values.set('sysctl a', '0');
  applyChanges([change('a', '1')], node.settings, node.store);
  applyChanges([change('a', '2')], node.settings, node.store);
  const [outcome] = revertChanges(node.settings, node.store);
  assert.deepEqual([outcome?.before, outcome?.after, node.values.get('sysctl a')], ['2', '0', '0']);
});

test('a value that another program has changed since stays', () => {
  const node = new Node();
  node.values.set('sysctl a', '0').set('sysctl b', '0');
  applyChanges([change('a', '1'), change('b', '1')], node.settings, node.store);
  node.values.set('sysctl a', '7');
  const outcomes = revertChanges(node.settings, node.store);
  assert.match(outcomes[0]?.problem ?? '', /another program/);
  assert.deepEqual([node.values.get('sysctl a'), node.values.get('sysctl b')], ['7', '0']);
});

test('a setting that does not exist is reported and leaves no entry', () => {
  const node = new Node();
  const [outcome] = applyChanges([change('gone', '1')], node.settings, node.store);
  assert.match(outcome?.problem ?? '', /no setting sysctl gone/);
  assert.equal(node.journal, emptyJournal);
});

test('nothing is changed when the journal cannot be saved', () => {
  const node = new Node();
  node.values.set('sysctl a', '0');
  const store: JournalStore = {
    load: () => emptyJournal,
    save: () => {
      throw new Error('no space');
    },
  };
  assert.throws(() => applyChanges([change('a', '1')], node.settings, store), /no space/);
  assert.equal(node.values.get('sysctl a'), '0');
});

test('an interrupted revert comes before other changes', () => {
  const node = new Node();
  node.values.set('sysctl a', '1');
  const target: Target = { kind: 'sysctl', name: 'a' };
  node.journal = { entries: [{ target, before: '0', after: '1' }], reverting: true };
  assert.throws(
    () => applyChanges([change('a', '1')], node.settings, node.store),
    /--revert first/,
  );
});

test('a journal of another form is refused with its path', () => {
  for (const text of ['', '{}', '[]', '{"entries":[{"target":{"kind":"x"}}]}', 'null']) {
    assert.throws(() => parseJournal(text, '/run/x.json'), /\/run\/x\.json was changed/, text);
  }
});
