import { compactList, type InvalidRef, type ObjectRecord, readObjects } from '@heddle/model';
import { decodeUtf8 } from '@heddle/sys';
import { parseDocument } from 'yaml';
import { type DocumentSpan, splitDocuments } from './document-split.ts';

/** An object that a manifest has, but that can't be used. */
export interface InvalidObject {
  readonly ref: InvalidRef;
  readonly reason: string;
}

export type ManifestObject = ObjectRecord | InvalidObject;

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
   * Why the document, or an object in it that doesn't say which one it is, can't be read. It may be
   * half written, and nobody can tell which objects it stands for. `line` counts from 0 at the
   * document's first line.
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
export function parseManifest(bytes: Uint8Array, before?: ManifestFile): ManifestFile {
  const spans = splitDocuments(bytes);
  const known = new Map<number, ManifestDocument>();
  for (const document of before?.documents ?? none) known.set(document.hash, document);
  let isBroken = false;
  const documents = spans.map((span) => {
    const same = known.get(span.hash);
    const isSame = same?.length === span.end - span.start;
    // Each stands for one: a document that is there twice shall be found to be.
    if (isSame) known.delete(span.hash);
    const document = isSame ? same! : readDocument(bytes, span);
    if (document.error) isBroken = true;
    return document;
  });
  return { documents, lines: spans.map(({ line }) => line), isBroken };
}

/** Whether a parsed manifest entry is an object that can't be used. */
export function isInvalid(object: ManifestObject): object is InvalidObject {
  return 'ref' in object;
}

function readDocument(bytes: Uint8Array, span: DocumentSpan): ManifestDocument {
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
    const parsed = parseText(text);
    if ('message' in parsed) return failed(parsed.line, parsed.message);
    const objects: ManifestObject[] = [];
    const notes: string[] = [];
    let error: ManifestDocument['error'];
    // An empty document, such as comments between two markers, is no object.
    for (const read of parsed.value === null ? none : readObjects(parsed.value)) {
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
    // Among others the engine's own: nesting that is deeper than its stack.
    const message = error instanceof Error ? error.message : String(error);
    return failed(firstLine, `document can't be read: ${message}`);
  }
}

type ParsedText = { readonly value: unknown } | { readonly line: number; readonly message: string };

/** Lines are counted from 0 here. */
function parseText(text: string): ParsedText {
  const deepLine = findDeepNesting(text);
  if (deepLine !== undefined) return { line: deepLine, message: 'document is nested too deeply' };
  if (/^\s*[{[]/.test(text)) {
    try {
      return { value: JSON.parse(text) };
    } catch {
      // JSON is YAML too, and the YAML parser says in which line the mistake is.
    }
  }
  const document = parseDocument(text, {
    prettyErrors: false,
    merge: true,
    // Warnings would go to the process, past the agent's log.
    logLevel: 'error',
  });
  const error = document.errors[0];
  if (error) {
    const [message] = error.message.split('\n');
    return { line: countLines(text, error.pos[0]), message: `not valid YAML: ${message}` };
  }
  return { value: document.toJS() };
}

const deepestBrackets = 200;
const deepestIndent = 400;

/**
 * Line at which a document nests far deeper than any Kubernetes object, by brackets or by the
 * indentation that block style needs for each level; undefined if none does. The parsers recurse,
 * and not every engine survives the end of its stack.
 */
function findDeepNesting(text: string): number | undefined {
  let line = 0;
  let brackets = 0;
  let indent = 0;
  let isIndent = true;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '\n') {
      line++;
      indent = 0;
      isIndent = true;
      continue;
    }
    if (isIndent) {
      // `- - a` nests as two lines would.
      if (character === ' ' || character === '-' || character === '?') indent++;
      else isIndent = false;
    }
    if (character === '[' || character === '{') brackets++;
    else if ((character === ']' || character === '}') && brackets > 0) brackets--;
    if (brackets > deepestBrackets || indent > deepestIndent) return line;
  }
  return undefined;
}

function countLines(text: string, end: number): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
}

function firstContentLine(text: string): number {
  const index = text
    .split('\n')
    .findIndex((each) => /^\s*[^\s#]/.test(each) && !/^---\s*$/.test(each));
  return Math.max(index, 0);
}
