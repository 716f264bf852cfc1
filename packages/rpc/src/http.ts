import { encodeUtf8 } from '@heddle/sys';
import { trimBlanks } from '@heddle/sys/internal';
import { LineReader } from './line-reader.ts';

// The part of HTTP/1.1 (RFC 9112) that a server of a few documents needs: requests without content.

/** A request for a document. */
export interface HttpRequest {
  readonly method: 'GET' | 'HEAD';
  /** Path of the target, without its query. */
  readonly path: string;
  /** The client sends no further request on this connection. */
  readonly isLast: boolean;
}

/** A refusal of what a client has sent; it ends the connection. */
export interface HttpFault {
  readonly status: number;
  readonly message: string;
}

export interface HttpResponse {
  readonly status: number;
  /** Media type with its character set. */
  readonly type: string;
  /** Header fields in addition to those of every response. */
  readonly fields?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Largest numbers of bytes in one line of a request's head, and in all its lines. */
const longestLine = 8 * 1024;
const longestHead = 16 * 1024;

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const requestLine = new RegExp(`^(${token}) (\\S+) HTTP/(\\d)\\.(\\d)$`);
const fieldName = new RegExp(`^(${token}):`);

const reasons: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
};

/** Splits the bytes of one client into requests. After a fault it ignores further bytes. */
export class RequestReader {
  readonly #lines = new LineReader(longestLine);
  /** Lines of an incomplete head. */
  #head: string[] = [];
  #headLength = 0;

  /** Adds received bytes. */
  push(bytes: Uint8Array): void {
    this.#lines.push(bytes);
  }

  /** Returns the next complete request, or what is wrong with it, or undefined when there is none. */
  next(): HttpRequest | HttpFault | undefined {
    for (let line = this.#lines.next(); line !== undefined; line = this.#lines.next()) {
      if (line === '') {
        // Empty lines before a request are ignored (RFC 9112, 2.2).
        if (this.#head.length === 0) continue;
        const head = this.#head;
        this.#head = [];
        this.#headLength = 0;
        return readHead(head);
      }
      this.#head.push(line);
      this.#headLength += line.length + 2;
      if (this.#headLength > longestHead) return tooLarge;
    }
    return this.#lines.overflowed ? tooLarge : undefined;
  }
}

const tooLarge: HttpFault = {
  status: 431,
  message: `read request: its head is longer than ${longestHead} bytes`,
};

function bad(what: string): HttpFault {
  return { status: 400, message: `read request: ${what}` };
}

function readHead([first, ...rest]: readonly string[]): HttpRequest | HttpFault {
  const request = requestLine.exec(first!);
  if (!request) return bad('the first line is not a request line of HTTP/1.1');
  const [, method, target, major, minor] = request as unknown as string[];
  if (major !== '1')
    return { status: 505, message: 'read request: this server supports only HTTP/1.1' };
  const fields = readFields(rest);
  if (!fields) return bad('a header field is malformed');
  const hosts = fields.get('host')?.length ?? 0;
  if (hosts > 1 || (hosts === 0 && minor !== '0')) return bad('it must have one Host field');
  // This reader does not know where content ends, so it refuses requests with content.
  const hasContent = (fields.get('content-length') ?? []).some((length) => length !== '0');
  if (hasContent || fields.has('transfer-encoding')) {
    return { status: 413, message: 'read request: it must have no content' };
  }
  if (method !== 'GET' && method !== 'HEAD') {
    return { status: 405, message: `${method}: this server supports only GET and HEAD` };
  }
  const path = pathOf(target!);
  if (path === undefined) return bad('the target is neither a path nor an http URL');
  const connection = (fields.get('connection') ?? []).join().toLowerCase();
  const isLast = minor === '0' || connection.split(',').map(trimBlanks).includes('close');
  return { method, path, isLast };
}

/** Returns values by lower-case name, in their order, or undefined when a line is not a field. */
function readFields(lines: readonly string[]): Map<string, string[]> | undefined {
  const fields = new Map<string, string[]>();
  for (const line of lines) {
    const [start, name] = fieldName.exec(line) ?? [];
    // A line that continues the previous one (obs-fold) is refused as well.
    if (start === undefined || name === undefined) return undefined;
    const value = trimBlanks(line.slice(start.length));
    if (hasControls(value)) return undefined;
    const values = fields.get(name.toLowerCase());
    if (values) values.push(value);
    else fields.set(name.toLowerCase(), [value]);
  }
  return fields;
}

/** Returns whether there are control characters other than the tab, e.g. a lone carriage return. */
function hasControls(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if ((code < 0x20 && code !== 0x09) || code === 0x7f) return true;
  }
  return false;
}

/** Returns the path of a target in origin form or absolute form (RFC 9112, 3.2). */
function pathOf(target: string): string | undefined {
  const origin = target.replace(/^http:\/\/[^/?#]*/i, '');
  const path = origin.replace(/[?#].*$/s, '');
  if (origin !== target && path === '') return '/';
  return path.startsWith('/') ? path : undefined;
}

/**
 * Returns the bytes of a response; for HEAD only those of its head. `isLast` announces that the
 * connection ends. `nowMs` is the wall time.
 */
export function encodeResponse(
  { status, type, fields = {}, body }: HttpResponse,
  { method, isLast, nowMs }: { method: HttpRequest['method']; isLast: boolean; nowMs: number },
): Uint8Array {
  const content = encodeUtf8(body);
  const head = [
    `HTTP/1.1 ${status} ${reasons[status] ?? 'Status'}`,
    // toUTCString returns the form that HTTP prefers (RFC 9110, 5.6.7).
    `Date: ${new Date(nowMs).toUTCString()}`,
    `Content-Type: ${type}`,
    `Content-Length: ${content.length}`,
    'X-Content-Type-Options: nosniff',
    ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
    ...(status === 405 ? ['Allow: GET, HEAD'] : []),
    ...(isLast ? ['Connection: close'] : []),
  ];
  const bytes = encodeUtf8(`${head.join('\r\n')}\r\n\r\n`);
  if (method === 'HEAD') return bytes;
  const whole = new Uint8Array(bytes.length + content.length);
  whole.set(bytes);
  whole.set(content, bytes.length);
  return whole;
}

/** Returns a response whose body is one line of text. */
export function textResponse(status: number, text: string): HttpResponse {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n` };
}
