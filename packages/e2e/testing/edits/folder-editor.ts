import {
  appendFileSync,
  closeSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '@heddle/vm/internal';
import { stringify } from 'yaml';
import { invalidate, labelOf, type Manifest, makeObject } from './object-maker.ts';

/** One file's version of an object. */
interface FileVersion {
  readonly object: Manifest;
  /** False for an invalid version. */
  readonly usable: boolean;
}

interface File {
  /** The objects in the order of the file; for a broken file, those of its last valid version. */
  versions: readonly FileVersion[];
  broken: boolean;
}

export interface EditorOptions {
  /**
   * True to also write malformed files and invalid objects: their last good version then applies.
   */
  readonly faults: boolean;
}

const fileNames = [
  ...['a.yaml', 'b.yml', 'c.json', 'd.yaml', 'e.yaml', 'f.yaml', 'g.json', 'h.yml'],
  ...['nodes.yaml', 'x.yaml', 'y.yaml', 'z.yaml'],
];
const unrelated = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'unrelated' } };
const garbage = [
  'apiVersion: v1\nkind: [',
  '{"apiVersion": "v1", "kind"',
  'just some text\n',
  '\t-',
];

/**
 * Edits a folder of manifests at random, in the ways in which editors write files, and determines
 * which objects apply after each edit.
 */
export class FolderEditor {
  readonly #folder: string;
  readonly #random: Random;
  readonly #options: EditorOptions;
  readonly #files = new Map<string, File>();
  /** The last valid version of each object in the files, by label. */
  readonly #current = new Map<string, Manifest>();
  /** The labels of objects whose newest version is invalid. */
  #unusable = new Set<string>();
  /** A description of the last edit. */
  lastEdit = '';

  constructor(folder: string, random: Random, options: EditorOptions) {
    this.#folder = folder;
    this.#random = random;
    this.#options = options;
  }

  get objects(): ReadonlyMap<string, Manifest> {
    return this.#current;
  }

  get unusable(): ReadonlySet<string> {
    return this.#unusable;
  }

  /** The names of files that can't be read or have an invalid object. */
  get faultyFiles(): Set<string> {
    const files = [...this.#files].filter(
      ([, { versions, broken }]) => broken || versions.some(({ usable }) => !usable),
    );
    return new Set(files.map(([name]) => name));
  }

  /** Makes one edit. When this resolves the agent may not have read it yet. */
  async edit(): Promise<void> {
    const random = this.#random;
    const names = [...this.#files.keys()];
    const kind = random.below(100);
    if (names.length > 2 && kind < 6) this.#delete(random.pick(names));
    else if (names.length > 2 && kind < 10) this.#rename(random.pick(names));
    else if (this.#options.faults && kind < 13) this.#break(random.pick(fileNames));
    else if (this.#options.faults && kind < 14) this.#empty(random.pick(fileNames));
    else await this.#change(random.pick(fileNames), kind);
    this.#updateExpected();
  }

  /** Repairs all broken files and invalid objects. */
  async repairAll(): Promise<void> {
    for (const [name, { versions, broken }] of [...this.#files]) {
      if (broken || versions.some(({ usable }) => !usable)) {
        await this.#write(
          name,
          versions.filter(({ usable }) => usable),
        );
      }
    }
    this.lastEdit = 'repair everything';
    this.#updateExpected();
  }

  /** Removes the whole folder for a while and restores it. */
  async removeForAWhile(milliseconds: number): Promise<void> {
    renameSync(this.#folder, `${this.#folder}.gone`);
    await sleep(milliseconds);
    renameSync(`${this.#folder}.gone`, this.#folder);
    this.lastEdit = 'removed and restored the folder';
  }

  async #change(name: string, kind: number): Promise<void> {
    const random = this.#random;
    const before = this.#files.get(name)?.versions ?? [];
    let versions = [...before];
    if (kind < 30 && versions.length > 0) versions.splice(random.below(versions.length), 1);
    else if (kind < 34 && versions.length > 1) versions.reverse();
    else {
      const made = makeObject(random);
      const usable = !this.#options.faults || !random.oneIn(20);
      const version = { object: usable ? made : invalidate(made, random), usable };
      const label = labelOf(made);
      const at = versions.findIndex(({ object }) => labelOf(object) === label);
      // An object usually stays in one file; sometimes two files have it.
      const currentFile = [...this.#files].find(([, file]) =>
        file.versions.some(({ object }) => labelOf(object) === label),
      )?.[0];
      if (at < 0 && currentFile !== undefined && currentFile !== name && !random.oneIn(10)) {
        await this.#change(currentFile, 99);
        return;
      }
      if (at >= 0) versions[at] = version;
      else if (versions.length < 5) versions.push(version);
      else versions = [version];
    }
    await this.#write(name, versions);
  }

  async #write(name: string, versions: readonly FileVersion[]): Promise<void> {
    const random = this.#random;
    const before = this.#files.get(name);
    const appended = versions.length > (before?.versions.length ?? 0) && before && !before.broken;
    const text = textOf(versions, name.endsWith('.json'), random);
    // Half a file may omit an object for a moment, which removes its last good version.
    const cuttable = text.length > 1 && versions.every(({ usable }) => usable);
    const path = `${this.#folder}/${name}`;
    const method = isLink(path) ? 3 : random.below(cuttable ? 6 : 4);
    if (method === 0 && appended && !name.endsWith('.json')) {
      // The beginning may have another order or form than before; only the last document is
      // appended.
      writeFileSync(path, text.slice(0, text.lastIndexOf('---\n')));
      appendFileSync(path, text.slice(text.lastIndexOf('---\n')));
      this.lastEdit = `append to ${name}`;
    } else if (method === 1) {
      writeFileSync(path, text);
      this.lastEdit = `write ${name} in place`;
    } else if (method === 2) {
      const target = `${this.#folder}/.target-${name}-${random.below(1e9)}`;
      writeFileSync(target, text);
      symlinkSync(target, `${this.#folder}/.link`);
      renameSync(`${this.#folder}/.link`, path);
      this.lastEdit = `link ${name}`;
    } else if (method < 4) {
      writeFileSync(`${this.#folder}/.${name}.swp`, text);
      renameSync(`${this.#folder}/.${name}.swp`, path);
      this.lastEdit = `rename to ${name}`;
    } else {
      await this.#writeHalves(path, text, method === 4);
      this.lastEdit = `write ${name} in two halves`;
    }
    this.#files.set(name, { versions, broken: false });
  }

  /** Writes a file in two halves. With `close` it is closed, and so readable, in between. */
  async #writeHalves(path: string, text: string, close: boolean): Promise<void> {
    const bytes = Buffer.from(text);
    const cut = 1 + this.#random.below(bytes.length - 1);
    rmSync(path, { force: true });
    let fd = openSync(path, 'w');
    writeSync(fd, bytes.subarray(0, cut));
    if (close) {
      closeSync(fd);
      fd = openSync(path, 'a');
    }
    if (this.#random.oneIn(2)) await sleep(this.#random.below(4));
    writeSync(fd, bytes.subarray(cut));
    closeSync(fd);
  }

  #overwrite(name: string, text: string): void {
    const path = `${this.#folder}/${name}`;
    if (isLink(path)) rmSync(path);
    writeFileSync(path, text);
  }

  #delete(name: string): void {
    rmSync(`${this.#folder}/${name}`);
    this.#files.delete(name);
    this.lastEdit = `delete ${name}`;
  }

  #rename(from: string): void {
    const to = this.#random.pick(fileNames.filter((name) => name !== from));
    const file = this.#files.get(from)!;
    renameSync(`${this.#folder}/${from}`, `${this.#folder}/${to}`);
    this.#files.delete(from);
    // A malformed file under a new name has no objects: those that the name had before stay.
    const versions = file.broken ? (this.#files.get(to)?.versions ?? []) : file.versions;
    this.#files.set(to, { versions, broken: file.broken });
    this.lastEdit = `rename ${from} to ${to}`;
  }

  #break(name: string): void {
    this.#overwrite(name, this.#random.pick(garbage));
    this.#files.set(name, { versions: this.#files.get(name)?.versions ?? [], broken: true });
    this.lastEdit = `break ${name}`;
  }

  #empty(name: string): void {
    this.#overwrite(name, this.#random.pick(['', '---\n', '# nothing\n']));
    this.#files.set(name, { versions: [], broken: false });
    this.lastEdit = `empty ${name}`;
  }

  /** Updates the expected objects: the first file by name that has an object determines it. */
  #updateExpected(): void {
    const winners = new Map<string, FileVersion>();
    for (const name of [...this.#files.keys()].sort()) {
      for (const version of this.#files.get(name)!.versions) {
        const label = labelOf(version.object);
        if (!winners.has(label)) winners.set(label, version);
      }
    }
    for (const label of [...this.#current.keys()]) {
      if (!winners.has(label)) this.#current.delete(label);
    }
    this.#unusable = new Set();
    for (const [label, { object, usable }] of winners) {
      if (usable) this.#current.set(label, object);
      else this.#unusable.add(label);
    }
  }
}

/**
 * Returns true for a symbolic link. A write through it would change another file than the one that is
 * watched.
 */
function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

function textOf(versions: readonly FileVersion[], json: boolean, random: Random): string {
  const objects: object[] = versions.map(({ object }) => object);
  if (json || random.oneIn(6)) {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    return JSON.stringify(list, null, random.below(3));
  }
  if (random.oneIn(4)) objects.splice(random.below(objects.length + 1), 0, unrelated);
  const comment = random.oneIn(3) ? `# edit ${random.below(1000)}\n` : '';
  const documents = objects.map((object) =>
    random.oneIn(4) ? `${JSON.stringify(object)}\n` : stringify(object),
  );
  return `${comment}${documents.map((document) => `---\n${document}`).join('')}`;
}
