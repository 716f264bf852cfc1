import {
  compactList,
  type ObjectChange,
  type ObjectRecord,
  type ObjectRef,
  objectLabel,
} from '@heddle/objects';
import {
  isInvalid,
  type ManifestDocument,
  type ManifestFile,
  type ManifestObject,
  parseManifest,
} from './manifest-parser.ts';
import type { SourceProblem } from './source.ts';

/** One file's word on an object. */
interface Claim {
  readonly file: FileState;
  readonly document: ManifestDocument;
  readonly object: ManifestObject;
}

interface FileState {
  readonly name: string;
  manifest: ManifestFile;
  /** Places of the documents in the file. */
  places: ReadonlyMap<ManifestDocument, number>;
  /** Objects of earlier versions, while a broken document may stand for them. */
  kept: readonly Claim[];
  /** Why the file could not be read at all. */
  unreadable: string | undefined;
}

/** All that is known of one object. */
interface ObjectState {
  ref: ObjectRef;
  /** By file name and place; the first is the one that counts. */
  claims: readonly Claim[];
  /** The last good version that was given out. */
  record: ObjectRecord | undefined;
  /** Why the newest version can't be used, as it was given out. */
  reason: string | undefined;
}

const none: readonly never[] = [];
const emptyManifest: ManifestFile = { documents: [], lines: [], isBroken: false };

/**
 * The objects of a set of manifest files: says what changed when a file did. An object that is in
 * several files is taken from the first by name. What a file had stays in force while the file
 * is broken.
 */
export class ManifestSet {
  readonly #files = new Map<string, FileState>();
  readonly #objects = new Map<string, ObjectState>();
  /** Labels of objects to look at. */
  readonly #touched = new Set<string>();
  /** Labels of objects that several documents have. */
  readonly #contested = new Set<string>();
  /** Files with a problem of their own. */
  readonly #troubled = new Set<FileState>();

  fileNames(): Iterable<string> {
    return this.#files.keys();
  }

  hasFile(name: string): boolean {
    return this.#files.has(name);
  }

  /** Parses a file, as far as it differs from the accepted version, without accepting it. */
  parse(name: string, bytes: Uint8Array): ManifestFile {
    return parseManifest(bytes, this.#files.get(name)?.manifest);
  }

  /**
   * Whether `manifest` looks as if its file were half written: it brings a document that can't be
   * read or used, or leaves nothing of a file that had objects.
   */
  isDoubtful(name: string, manifest: ManifestFile): boolean {
    const accepted = this.#files.get(name)?.manifest ?? emptyManifest;
    const known = new Set(accepted.documents);
    return (
      manifest.documents.some((document) => isFaulty(document) && !known.has(document)) ||
      (countObjects(manifest) === 0 && countObjects(accepted) > 0)
    );
  }

  /** Makes `manifest` the file's content; true when that brought new documents. */
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
        claimsOf(file, manifest.documents).map(({ object }) => labelOf(object)),
      );
      file.kept = compactList(dropped.filter(({ object }) => !claimed.has(labelOf(object))));
      this.#replaceClaims([], file.kept);
    }
    this.#reorder(file);
    this.#noteTrouble(file);
    return come.length > 0;
  }

  /** Notes that a file is there but can't be read; what it had stays in force. */
  setUnreadable(name: string, message: string): void {
    const file = this.#fileOf(name);
    file.unreadable = message;
    this.#noteTrouble(file);
  }

  /** Forgets a file and what only it had. */
  removeFile(name: string): void {
    const file = this.#files.get(name);
    if (!file) return;
    this.#replaceClaims([...claimsOf(file, file.manifest.documents), ...file.kept], []);
    this.#files.delete(name);
    this.#troubled.delete(file);
  }

  /** What happened to objects since this was last asked. */
  takeChanges(): ObjectChange[] {
    const changes: ObjectChange[] = [];
    for (const label of this.#touched) {
      const state = this.#objects.get(label)!;
      const winner = state.claims[0]?.object;
      if (!winner) {
        this.#objects.delete(label);
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
        changes.push({ op: 'set', object: winner });
      }
    }
    this.#touched.clear();
    return changes;
  }

  /** Whether everything in the files could be read and is usable. */
  get isSound(): boolean {
    return this.#troubled.size === 0;
  }

  /** All that is wrong now, by file and line. */
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
    for (const label of this.#contested) {
      const [winner, ...others] = this.#objects.get(label)!.claims;
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

  /** Objects in a file that were passed over, in words. */
  notes(name: string): SourceProblem[] {
    const { documents, lines } = this.#files.get(name)?.manifest ?? emptyManifest;
    return documents.flatMap(({ notes, firstLine }, i) =>
      notes.map((message) => ({ file: name, line: lines[i]! + firstLine, message })),
    );
  }

  /** Where the version of an object that counts stands. */
  locate(label: string): { readonly file: string; readonly line: number } | undefined {
    const claim = this.#objects.get(label)?.claims[0];
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

  #hasClaim(file: FileState, label: string): boolean {
    return this.#objects.get(label)?.claims.some((claim) => claim.file === file) ?? false;
  }

  #replaceClaims(gone: readonly Claim[], come: readonly Claim[]): void {
    // Each object once, however many documents have it.
    const goneByLabel = new Map<string, Set<ManifestObject>>();
    for (const { object } of gone) {
      const label = labelOf(object);
      const objects = goneByLabel.get(label);
      if (objects) objects.add(object);
      else goneByLabel.set(label, new Set([object]));
    }
    for (const [label, objects] of goneByLabel) {
      const state = this.#objects.get(label)!;
      this.#setClaims(
        label,
        state,
        state.claims.filter((claim) => !objects.has(claim.object)),
      );
    }
    const comeByLabel = new Map<string, Claim[]>();
    for (const claim of come) {
      const label = labelOf(claim.object);
      const claims = comeByLabel.get(label);
      if (claims) claims.push(claim);
      else comeByLabel.set(label, [claim]);
    }
    for (const [label, claims] of comeByLabel) {
      let state = this.#objects.get(label);
      if (!state) {
        const ref = refOf(claims[0]!.object);
        state = { ref, claims: none, record: undefined, reason: undefined };
        this.#objects.set(label, state);
      }
      this.#setClaims(label, state, [...state.claims, ...claims].sort(byPlace));
    }
  }

  /** Documents that only changed places may have changed who is first. */
  #reorder(file: FileState): void {
    for (const label of this.#contested) {
      const state = this.#objects.get(label)!;
      if (!this.#hasClaim(file, label)) continue;
      this.#setClaims(label, state, [...state.claims].sort(byPlace));
    }
  }

  #setClaims(label: string, state: ObjectState, claims: readonly Claim[]): void {
    state.claims = compactList(claims);
    if (claims[0]) state.ref = refOf(claims[0].object);
    if (claims.length > 1) this.#contested.add(label);
    else this.#contested.delete(label);
    this.#touched.add(label);
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

/** Place of a document among those of its file; after all of them if it is one that is kept. */
function indexOf({ file, document }: Claim): number {
  return file.places.get(document) ?? file.manifest.documents.length;
}

/** Line where a claim's document has its content; 0 if it is kept from a former version. */
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

function labelOf(object: ManifestObject): string {
  return objectLabel(refOf(object));
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Whether two records say the same: plain data, lists and maps. */
function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof Map && b instanceof Map) return sameValue([...a], [...b]);
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => sameValue(a[key as never], b[key as never]))
  );
}
