/** The position of a YAML document in a file. */
export interface DocumentSpan {
  /** Offsets in bytes; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
  /** The line of the first byte, from 1. */
  readonly line: number;
  /** 53 bits; equal content has equal hashes. */
  readonly hash: number;
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const tab = 0x09;
const hyphen = 0x2d;
const dot = 0x2e;
const numberSign = 0x23;
const percent = 0x25;

/**
 * Splits a file at its document markers (`---`, `...`). A marker at the start of a line ends a
 * document at any place (YAML 1.2, 9.1.2: not even a block scalar may contain one), so that a document can be
 * compared with its earlier version without a parser. Comments and directives before the first `---` belong to
 * the document after it; other content is a document of its own.
 */
export function splitDocuments(bytes: Uint8Array): DocumentSpan[] {
  const spans: DocumentSpan[] = [];
  const hasByteOrderMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  let start = hasByteOrderMark ? 3 : 0;
  let startLine = 1;
  // True once the present document has its marker, or content without one.
  let begun = false;
  let hasContent = false;
  const close = (end: number) => {
    if (begun || hasContent) {
      spans.push({ start, end, line: startLine, hash: hashBytes(bytes, start, end) });
    }
  };
  let line = 1;
  for (let at = start; at < bytes.length; line++) {
    const lineEnd = bytes.indexOf(newline, at);
    const next = lineEnd < 0 ? bytes.length : lineEnd + 1;
    if (isMarker(bytes, at, hyphen)) {
      if (begun || hasContent) {
        close(at);
        start = at;
        startLine = line;
      }
      begun = true;
      hasContent = false;
    } else if (isMarker(bytes, at, dot)) {
      close(at);
      start = next;
      startLine = line + 1;
      begun = false;
      hasContent = false;
    } else if (!hasContent && !isBlankOrComment(bytes, at, next, begun)) {
      hasContent = true;
    }
    at = next;
  }
  close(bytes.length);
  return spans;
}

function isMarker(bytes: Uint8Array, at: number, character: number): boolean {
  if (bytes[at] !== character || bytes[at + 1] !== character || bytes[at + 2] !== character) {
    return false;
  }
  const after = bytes[at + 3];
  return (
    after === undefined ||
    after === newline ||
    after === space ||
    after === tab ||
    after === carriageReturn
  );
}

function isBlankOrComment(bytes: Uint8Array, at: number, end: number, begun: boolean): boolean {
  if (bytes[at] === percent && !begun) return true;
  for (let i = at; i < end; i++) {
    const byte = bytes[i];
    if (byte === numberSign) return true;
    if (byte !== space && byte !== tab && byte !== carriageReturn && byte !== newline) return false;
  }
  return true;
}

/** Returns two multiplicative hashes of 32 bits, of which 53 bits are kept. It does not resist crafted collisions. */
function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let a = 0x811c9dc5;
  let b = end - start;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b, 0x5bd1e995) + byte;
  }
  a = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d);
  b = Math.imul(b ^ (b >>> 13), 0x297a2d39);
  return (a >>> 0) * 2 ** 21 + ((b ^ (b >>> 16)) >>> 11);
}
