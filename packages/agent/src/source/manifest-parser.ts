import { parseYaml, YamlError } from '@heddle/kube/internal';
import { compactList, type InvalidRef, type ObjectReader, type ObjectRef } from '@heddle/objects';
import { decodeUtf8 } from '@heddle/sys';
import { type DocumentSpan, splitDocuments } from './document-split.ts';
import { toUtf8 } from './encoding.ts';

/** An object of a manifest that cannot be used. */
export interface InvalidObject {
  readonly ref: InvalidRef;
  readonly reason: string;
}

export type ManifestObject = ObjectRef | InvalidObject;

/** One document of a manifest, as far as it could be read; wherever in the file it stands. */
export interface ManifestDocument {
  readonly hash: number;
  readonly length: number;
  /** Line of its first content, past marker and comments; 0 is the document's first line. */
  readonly firstLine: number;
  readonly objects: readonly ManifestObject[];
  /** Objects that were passed over, in words. */
  readonly notes: readonly string[];
  /**
   * The reason why the document, or an object in it without a name, cannot be read. It may be half written, and
   * its objects are unknown. `line` counts from 0 at the document's first line.
   */
  readonly error: { readonly line: number; readonly message: string } | undefined;
}

export interface ManifestFile {
  readonly documents: readonly ManifestDocument[];
  /** First line of each document, from 1. */
  readonly lines: readonly number[];
  /** Some document has an error. */
  readonly isBroken: boolean;
}

const none: readonly never[] = [];

/**
 * Reads a manifest: YAML with any number of documents, or JSON. Never throws: what can't be read is
 * an error of its document, and the others go on. Documents whose text is the same as in `before`
 * are not parsed again.
 */
export function parseManifest(
  reader: ObjectReader,
  content: Uint8Array,
  before?: ManifestFile,
): ManifestFile {
  const bytes = toUtf8(content);
  if (typeof bytes === 'string') return unreadableFile(content, bytes);
  const spans = splitDocuments(bytes);
  const known = new Map<number, ManifestDocument>();
  for (const document of before?.documents ?? none) known.set(document.hash, document);
  let isBroken = false;
  const documents = spans.map((span) => {
    const same = known.get(span.hash);
    const isSame = same?.length === span.end - span.start;
    // Each stands for one: a document that is there twice shall be found to be.
    if (isSame) known.delete(span.hash);
    const document = isSame ? same! : readDocument(reader, bytes, span);
    if (document.error) isBroken = true;
    return document;
  });
  return { documents, lines: spans.map(({ line }) => line), isBroken };
}

/** Returns a file that is one document with an error. */
function unreadableFile({ length }: Uint8Array, message: string): ManifestFile {
  const error = { line: 0, message };
  const document = { hash: 0, length, firstLine: 0, objects: none, notes: none, error };
  return { documents: [document], lines: [1], isBroken: true };
}

/** Returns true for an object that cannot be used. */
export function isInvalid(object: ManifestObject): object is InvalidObject {
  return 'ref' in object;
}

function readDocument(
  reader: ObjectReader,
  bytes: Uint8Array,
  span: DocumentSpan,
): ManifestDocument {
  const text = decodeUtf8(bytes.subarray(span.start, span.end));
  const { hash } = span;
  const length = span.end - span.start;
  const firstLine = firstContentLine(text);
  const failed = (line: number, message: string): ManifestDocument => ({
    hash,
    length,
    firstLine,
    objects: none,
    notes: none,
    error: { line, message },
  });
  try {
    const value = parseYaml(text, { merge: true });
    const objects: ManifestObject[] = [];
    const notes: string[] = [];
    let error: ManifestDocument['error'];
    // An empty document, such as comments between two markers, is no object.
    for (const read of value === null ? none : reader.readAll(value)) {
      if (read.kind === 'ignored') notes.push(read.note);
      else if (read.kind !== 'invalid') objects.push(read.record);
      else if (read.ref) objects.push({ ref: read.ref, reason: read.reason });
      else error ??= { line: firstLine, message: read.reason };
    }
    return {
      hash,
      length,
      firstLine,
      objects: compactList(objects),
      notes: compactList(notes),
      error,
    };
  } catch (error) {
    if (error instanceof YamlError) return failed(error.line, error.message);
    // Among others the engine's own: nesting that is deeper than its stack.
    const message = error instanceof Error ? error.message : String(error);
    return failed(firstLine, `document can't be read: ${message}`);
  }
}

function firstContentLine(text: string): number {
  const index = text
    .split('\n')
    .findIndex((each) => /^\s*[^\s#]/.test(each) && !/^---\s*$/.test(each));
  return Math.max(index, 0);
}
