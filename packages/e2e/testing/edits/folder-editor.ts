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
import { labelOf, type Manifest, makeObject, spoil } from './object-maker.ts';

/** One file's word on an object. */
interface Claim {
  readonly object: Manifest;
  /** False: it is there, but can't be used. */
  readonly usable: boolean;
}

interface File {
  /** As the file lists them; of a broken file, what it listed before. */
  claims: readonly Claim[];
  broken: boolean;
}

export interface EditorOptions {
  /** Also write what can't be read or used: the last good version then counts. */
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
 * Edits a folder of manifests at random, in every way in which editors and people write files, and
 * knows which objects are in force after each edit.
 */
export class FolderEditor {
  readonly #folder: string;
  readonly #random: Random;
  readonly #options: EditorOptions;
  readonly #files = new Map<string, File>();
  /** By label: the last usable version of each object that a file still has. */
  readonly #inForce = new Map<string, Manifest>();
  /** Labels of objects whose newest version can't be used. */
  #unusable = new Set<string>();
  /** What was done last, in words. */
  lastEdit = '';

  constructor(folder: string, random: Random, options: EditorOptions) {
    this.#folder = folder;
    this.#random = random;
    this.#options = options;
  }

  get objects(): ReadonlyMap<string, Manifest> {
    return this.#inForce;
  }

  get unusable(): ReadonlySet<string> {
    return this.#unusable;
  }

  /** Names of files of which something can't be read or used. */
  get troubled(): Set<string> {
    const files = [...this.#files].filter(
      ([, { claims, broken }]) => broken || claims.some(({ usable }) => !usable),
    );
    return new Set(files.map(([name]) => name));
  }

  /** One edit. It is done when this resolves; whether it was taken in is another matter. */
  async edit(): Promise<void> {
    const random = this.#random;
    const names = [...this.#files.keys()];
    const kind = random.below(100);
    if (names.length > 2 && kind < 6) this.#delete(random.pick(names));
    else if (names.length > 2 && kind < 10) this.#rename(random.pick(names));
    else if (this.#options.faults && kind < 13) this.#break(random.pick(fileNames));
    else if (this.#options.faults && kind < 14) this.#empty(random.pick(fileNames));
    else await this.#change(random.pick(fileNames), kind);
    this.#settle();
  }

  /** Mends what is broken, so that everything in the folder can be used. */
  async mend(): Promise<void> {
    for (const [name, { claims, broken }] of [...this.#files]) {
      if (broken || claims.some(({ usable }) => !usable)) {
        await this.#write(
          name,
          claims.filter(({ usable }) => usable),
        );
      }
    }
    this.lastEdit = 'mend everything';
    this.#settle();
  }

  /** The folder goes away as a whole, and comes back as it was. */
  async vanish(milliseconds: number): Promise<void> {
    renameSync(this.#folder, `${this.#folder}.gone`);
    await sleep(milliseconds);
    renameSync(`${this.#folder}.gone`, this.#folder);
    this.lastEdit = 'folder went and came back';
  }

  async #change(name: string, kind: number): Promise<void> {
    const random = this.#random;
    const before = this.#files.get(name)?.claims ?? [];
    let claims = [...before];
    if (kind < 30 && claims.length > 0) claims.splice(random.below(claims.length), 1);
    else if (kind < 34 && claims.length > 1) claims.reverse();
    else {
      const made = makeObject(random);
      const usable = !this.#options.faults || !random.oneIn(20);
      const claim = { object: usable ? made : spoil(made, random), usable };
      const label = labelOf(made);
      const at = claims.findIndex(({ object }) => labelOf(object) === label);
      // An object mostly stays in its file; now and then two files have it.
      const home = [...this.#files].find(([, file]) =>
        file.claims.some(({ object }) => labelOf(object) === label),
      )?.[0];
      if (at < 0 && home !== undefined && home !== name && !random.oneIn(10)) {
        await this.#change(home, 99);
        return;
      }
      if (at >= 0) claims[at] = claim;
      else if (claims.length < 5) claims.push(claim);
      else claims = [claim];
    }
    await this.#write(name, claims);
  }

  async #write(name: string, claims: readonly Claim[]): Promise<void> {
    const random = this.#random;
    const before = this.#files.get(name);
    const appended = claims.length > (before?.claims.length ?? 0) && before && !before.broken;
    const text = textOf(claims, name.endsWith('.json'), random);
    // Half a file may drop an object for a moment, and with it its last good version.
    const cuttable = text.length > 1 && claims.every(({ usable }) => usable);
    const path = `${this.#folder}/${name}`;
    const way = isLink(path) ? 3 : random.below(cuttable ? 6 : 4);
    if (way === 0 && appended && !name.endsWith('.json')) {
      // What was there before is written in another order or form too; only the end is added.
      writeFileSync(path, text.slice(0, text.lastIndexOf('---\n')));
      appendFileSync(path, text.slice(text.lastIndexOf('---\n')));
      this.lastEdit = `append to ${name}`;
    } else if (way === 1) {
      writeFileSync(path, text);
      this.lastEdit = `write ${name} in place`;
    } else if (way === 2) {
      const target = `${this.#folder}/.target-${name}-${random.below(1e9)}`;
      writeFileSync(target, text);
      symlinkSync(target, `${this.#folder}/.link`);
      renameSync(`${this.#folder}/.link`, path);
      this.lastEdit = `link ${name}`;
    } else if (way < 4) {
      writeFileSync(`${this.#folder}/.${name}.swp`, text);
      renameSync(`${this.#folder}/.${name}.swp`, path);
      this.lastEdit = `rename to ${name}`;
    } else {
      await this.#writeHalves(path, text, way === 4);
      this.lastEdit = `write ${name} in two halves`;
    }
    this.#files.set(name, { claims, broken: false });
  }

  /** The file is closed, and readable, in between; or it is held open. */
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
    // Garbage under another name still says nothing: what that file had stays.
    const claims = file.broken ? (this.#files.get(to)?.claims ?? []) : file.claims;
    this.#files.set(to, { claims, broken: file.broken });
    this.lastEdit = `rename ${from} to ${to}`;
  }

  #break(name: string): void {
    this.#overwrite(name, this.#random.pick(garbage));
    this.#files.set(name, { claims: this.#files.get(name)?.claims ?? [], broken: true });
    this.lastEdit = `break ${name}`;
  }

  #empty(name: string): void {
    this.#overwrite(name, this.#random.pick(['', '---\n', '# nothing\n']));
    this.#files.set(name, { claims: [], broken: false });
    this.lastEdit = `empty ${name}`;
  }

  /** The first file by name has the say on an object; what it says must be usable. */
  #settle(): void {
    const winners = new Map<string, Claim>();
    for (const name of [...this.#files.keys()].sort()) {
      for (const claim of this.#files.get(name)!.claims) {
        const label = labelOf(claim.object);
        if (!winners.has(label)) winners.set(label, claim);
      }
    }
    for (const label of [...this.#inForce.keys()]) {
      if (!winners.has(label)) this.#inForce.delete(label);
    }
    this.#unusable = new Set();
    for (const [label, { object, usable }] of winners) {
      if (usable) this.#inForce.set(label, object);
      else this.#unusable.add(label);
    }
  }
}

/** What is written through a link changes another file than the one that is watched. */
function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

function textOf(claims: readonly Claim[], json: boolean, random: Random): string {
  const objects: object[] = claims.map(({ object }) => object);
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
