import {
  compactList,
  type ObjectChange,
  type ObjectReader,
  type ObjectRef,
  ownText,
} from '@heddle/objects';
import {
  isInvalid,
  type ManifestDocument,
  type ManifestFile,
  type ManifestObject,
  parseManifest,
} from './manifest-parser.ts';
import { sameValue } from './same-value.ts';
import type { SourceProblem } from './source.ts';

/** A version of an object in one document of a file. */
interface Claim {
  readonly file: FileState;
  readonly document: ManifestDocument;
  readonly object: ManifestObject;
}

interface FileState {
  readonly name: string;
  manifest: ManifestFile;
  /** The positions of the documents in the file. */
  places: ReadonlyMap<ManifestDocument, number>;
  /** Objects of earlier versions of the file, kept while a broken document may hold them. */
  kept: readonly Claim[];
  /** The reason why the file could not be read at all. */
  unreadable: string | undefined;
}

/** The state of one object. */
interface ObjectState {
  ref: ObjectRef;
  /** Sorted by file name and position; the first one counts. */
  claims: readonly Claim[];
  /** The last good version that was reported. */
  record: ObjectRef | undefined;
  /** The reason, as it was reported, why the newest version cannot be used. */
  reason: string | undefined;
}

const none: readonly never[] = [];
const emptyManifest: ManifestFile = { documents: [], lines: [], isBroken: false };

/**
 * The objects of a set of manifest files. It reports which objects change when a file changes. An object that
 * several files have is taken from the first by name. While a file is broken, its last good objects stay.
 */
export class ManifestSet<Record extends ObjectRef = ObjectRef> {
  readonly #reader: ObjectReader<Record>;
  readonly #files = new Map<string, FileState>();
  readonly #objects = new Map<string, ObjectState>();
  /** The keys of the objects that may have changed. */
  readonly #touched = new Set<string>();
  /** The keys of the objects that several documents have. */
  readonly #contested = new Set<string>();
  /** Files with a problem of their own. */
  readonly #troubled = new Set<FileState>();

  constructor(reader: ObjectReader<Record>) {
    this.#reader = reader;
  }

  fileNames(): Iterable<string> {
    return this.#files.keys();
  }

  hasFile(name: string): boolean {
    return this.#files.has(name);
  }

  /** Parses a file, as far as it differs from the accepted version, without accepting it. */
  parse(name: string, bytes: Uint8Array): ManifestFile {
    return parseManifest(this.#reader, bytes, this.#files.get(name)?.manifest);
  }

  /**
   * Returns true if the file may be half written: it has a new document that cannot be read or used, or it
   * lost all of its objects.
   */
  isDoubtful(name: string, manifest: ManifestFile): boolean {
    const accepted = this.#files.get(name)?.manifest ?? emptyManifest;
    const known = new Set(accepted.documents);
    return (
      manifest.documents.some((document) => isFaulty(document) && !known.has(document)) ||
      (countObjects(manifest) === 0 && countObjects(accepted) > 0)
    );
  }

  /** Makes `manifest` the file's content. Returns true if it has new documents. */
  accept(name: string, manifest: ManifestFile): boolean {
    const file = this.#fileOf(name);
    const before = new Set(file.manifest.documents);
    const after = new Set(manifest.documents);
    const gone = file.manifest.documents.filter((document) => !after.has(document));
    const come = manifest.documents.filter((document) => !before.has(document));
    file.manifest = manifest;
    file.places = new Map(manifest.documents.map((document, i) => [document, i]));
    file.unreadable = undefined;
    const dropped = [...claimsOf(file, gone), ...file.kept];
    file.kept = none;
    this.#replaceClaims(dropped, claimsOf(file, come));
    if (manifest.isBroken) {
      const claimed = new Set(
        claimsOf(file, manifest.documents).map(({ object }) => keyOfObject(object)),
      );
      file.kept = compactList(dropped.filter(({ object }) => !claimed.has(keyOfObject(object))));
      this.#replaceClaims([], file.kept);
    }
    this.#reorder(file);
    this.#noteTrouble(file);
    return come.length > 0;
  }

  /** Records that a file exists but cannot be read; its objects stay. */
  setUnreadable(name: string, message: string): void {
    const file = this.#fileOf(name);
    file.unreadable = message;
    this.#noteTrouble(file);
  }

  /** Removes a file and the objects that no other file has. */
  removeFile(name: string): void {
    const file = this.#files.get(name);
    if (!file) return;
    this.#replaceClaims([...claimsOf(file, file.manifest.documents), ...file.kept], []);
    this.#files.delete(name);
    this.#troubled.delete(file);
  }

  /** Returns the changes since the last call. */
  takeChanges(): ObjectChange<Record>[] {
    const changes: ObjectChange<Record>[] = [];
    for (const key of this.#touched) {
      const state = this.#objects.get(key)!;
      const winner = state.claims[0]?.object;
      if (!winner) {
        this.#objects.delete(key);
        const { kind, namespace, name } = state.ref;
        if (state.record || state.reason) changes.push({ op: 'delete', kind, namespace, name });
      } else if (isInvalid(winner)) {
        if (state.reason === winner.reason) continue;
        state.reason = winner.reason;
        changes.push({ op: 'invalid', ...winner.ref, reason: winner.reason });
      } else {
        if (state.reason === undefined && state.record && sameValue(state.record, winner)) continue;
        state.reason = undefined;
        state.record = winner;
        // The reader made it.
        changes.push({ op: 'set', object: winner as Record });
      }
    }
    this.#touched.clear();
    return changes;
  }

  /** True if everything in the files could be read and used. */
  get isSound(): boolean {
    return this.#troubled.size === 0;
  }

  /** Returns the present problems, by file and line. */
  problems(): SourceProblem[] {
    const problems: SourceProblem[] = [];
    for (const { name, manifest, unreadable } of this.#troubled) {
      if (unreadable) problems.push({ file: name, line: 0, message: unreadable });
      manifest.documents.forEach(({ objects, error, firstLine }, i) => {
        const start = manifest.lines[i]!;
        const line = start + firstLine;
        if (error) {
          problems.push({ file: name, line: start + error.line, message: error.message });
        }
        for (const object of objects) {
          if (isInvalid(object)) problems.push({ file: name, line, message: object.reason });
        }
      });
    }
    for (const key of this.#contested) {
      const { ref, claims } = this.#objects.get(key)!;
      const [winner, ...others] = claims;
      const label = this.#reader.label(ref);
      const where = `${winner!.file.name}:${lineOf(winner!)}`;
      const message = `${label} is not taken from here: ${where} has it`;
      for (const claim of others) {
        problems.push({ file: claim.file.name, line: lineOf(claim), message });
      }
    }
    return problems.sort(
      (a, b) => compareText(a.file, b.file) || a.line - b.line || compareText(a.message, b.message),
    );
  }

  /** Returns notes about the objects of a file that are ignored. */
  notes(name: string): SourceProblem[] {
    const { documents, lines } = this.#files.get(name)?.manifest ?? emptyManifest;
    return documents.flatMap(({ notes, firstLine }, i) =>
      notes.map((message) => ({ file: name, line: lines[i]! + firstLine, message })),
    );
  }

  /** Returns the position of the version of an object that counts. */
  locate(ref: ObjectRef): { readonly file: string; readonly line: number } | undefined {
    const claim = this.#objects.get(keyOf(ref))?.claims[0];
    return claim && { file: claim.file.name, line: lineOf(claim) };
  }

  #fileOf(name: string): FileState {
    let file = this.#files.get(name);
    if (!file) {
      file = {
        ...{ name, manifest: emptyManifest, places: new Map(), kept: none },
        unreadable: undefined,
      };
      this.#files.set(name, file);
    }
    return file;
  }

  #hasClaim(file: FileState, key: string): boolean {
    return this.#objects.get(key)?.claims.some((claim) => claim.file === file) ?? false;
  }

  #replaceClaims(gone: readonly Claim[], come: readonly Claim[]): void {
    // Each object once, although several documents may have it.
    const goneByKey = new Map<string, Set<ManifestObject>>();
    for (const { object } of gone) {
      const key = keyOfObject(object);
      const objects = goneByKey.get(key);
      if (objects) objects.add(object);
      else goneByKey.set(key, new Set([object]));
    }
    for (const [key, objects] of goneByKey) {
      const state = this.#objects.get(key)!;
      this.#setClaims(
        key,
        state,
        state.claims.filter((claim) => !objects.has(claim.object)),
      );
    }
    const comeByKey = new Map<string, Claim[]>();
    for (const claim of come) {
      const key = keyOfObject(claim.object);
      const claims = comeByKey.get(key);
      if (claims) claims.push(claim);
      else comeByKey.set(key, [claim]);
    }
    for (const [key, claims] of comeByKey) {
      let state = this.#objects.get(key);
      if (!state) {
        const ref = refOf(claims[0]!.object);
        state = { ref, claims: none, record: undefined, reason: undefined };
        this.#objects.set(key, state);
      }
      this.#setClaims(key, state, [...state.claims, ...claims].sort(byPlace));
    }
  }

  /** Sorts the versions of objects again: documents of the file may have changed positions. */
  #reorder(file: FileState): void {
    for (const key of this.#contested) {
      const state = this.#objects.get(key)!;
      if (!this.#hasClaim(file, key)) continue;
      this.#setClaims(key, state, [...state.claims].sort(byPlace));
    }
  }

  #setClaims(key: string, state: ObjectState, claims: readonly Claim[]): void {
    state.claims = compactList(claims);
    if (claims[0]) state.ref = refOf(claims[0].object);
    if (claims.length > 1) this.#contested.add(key);
    else this.#contested.delete(key);
    this.#touched.add(key);
  }

  #noteTrouble(file: FileState): void {
    const { manifest, unreadable } = file;
    if (unreadable || manifest.documents.some(isFaulty)) this.#troubled.add(file);
    else this.#troubled.delete(file);
  }
}

function claimsOf(file: FileState, documents: readonly ManifestDocument[]): Claim[] {
  return documents.flatMap((document) =>
    document.objects.map((object) => ({ file, document, object })),
  );
}

/** Returns the position of a document in its file; a kept one follows all others. */
function indexOf({ file, document }: Claim): number {
  return file.places.get(document) ?? file.manifest.documents.length;
}

/** Returns the line of a document's first content; 0 if it is kept from an earlier version. */
function lineOf(claim: Claim): number {
  const line = claim.file.manifest.lines[indexOf(claim)];
  return line === undefined ? 0 : line + claim.document.firstLine;
}

function byPlace(a: Claim, b: Claim): number {
  return compareText(a.file.name, b.file.name) || indexOf(a) - indexOf(b);
}

function isFaulty({ error, objects }: ManifestDocument): boolean {
  return error !== undefined || objects.some(isInvalid);
}

function countObjects({ documents }: ManifestFile): number {
  return documents.reduce((count, { objects }) => count + objects.length, 0);
}

function refOf(object: ManifestObject): ObjectRef {
  return isInvalid(object) ? object.ref : object;
}

function keyOfObject(object: ManifestObject): string {
  return keyOf(refOf(object));
}

function keyOf({ kind, namespace, name }: ObjectRef): string {
  return ownText(`${kind} ${namespace}/${name}`);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
