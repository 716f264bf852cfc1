import { trimBlanks } from '@heddle/sys/internal';
import { HttpError } from './errors.ts';

export interface ResponseHead {
  readonly status: number;
  /** Names are in lower case. Values of a repeated name are joined by `, `. */
  readonly headers: ReadonlyMap<string, string>;
}

/** Receives the parts of a response. */
export interface ResponseEvents {
  onHead(head: ResponseHead): void;
  /** Called with bytes of the body, a part of those pushed. */
  onBody(bytes: Uint8Array): void;
}

/** The limit of all lines of a response outside its body: interim responses, heads, trailers. */
const maxHeadBytes = 65536;
/** The limit of a line with the size of a chunk and its extensions. */
const maxChunkLineBytes = 4096;

type State =
  | 'status'
  | 'header'
  | 'body'
  | 'chunk-size'
  | 'chunk'
  | 'chunk-end'
  | 'trailer'
  | 'end';

/**
 * Reads one HTTP/1.1 response from a stream that may be cut anywhere (RFC 9112). It is strict where two
 * lenient readers of the same bytes could see different messages: lines end in CR LF, there is one length in
 * one form, header lines are not folded.
 */
export class ResponseParser {
  readonly #events: ResponseEvents;
  readonly #isConnect: boolean;
  #state: State = 'status';
  #line = '';
  #headBytes = 0;
  /** The number of bytes left of the body, or of the chunk. */
  #left = 0;
  #status = 0;
  #headers = new Map<string, string>();
  #isReusable = false;

  /** `isConnect` is for the response to a CONNECT. A successful one has no body. */
  constructor(events: ResponseEvents, isConnect = false) {
    this.#events = events;
    this.#isConnect = isConnect;
  }

  /** Returns true if the response is complete. */
  get hasEnded(): boolean {
    return this.#state === 'end';
  }

  /** Returns true if the end of the response is certain, so that the connection can be used again. */
  get isReusable(): boolean {
    return this.#state === 'end' && this.#isReusable;
  }

  /**
   * Reads more bytes. Returns the number of those that belong to the response, which are fewer only when it
   * has ended. Throws HttpError.
   */
  push(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length && this.#state !== 'end') {
      if (this.#state === 'body' || this.#state === 'chunk') {
        const end = Math.min(bytes.length, at + this.#left);
        this.#left -= end - at;
        const part = bytes.subarray(at, end);
        at = end;
        this.#events.onBody(part);
        if (this.#left === 0) this.#endOfData();
      } else {
        const end = bytes.indexOf(0x0a, at);
        this.#addToLine(bytes, at, end < 0 ? bytes.length : end);
        if (end < 0) return bytes.length;
        at = end + 1;
        this.#readLine();
      }
    }
    return at;
  }

  /** Ends the stream. Throws HttpError if the response is not complete. */
  endOfStream(): void {
    if (this.#state === 'end') return;
    if (this.#state === 'body' && this.#left === Number.POSITIVE_INFINITY) {
      this.#state = 'end';
      return;
    }
    const where = this.#state === 'status' ? 'before its response' : 'within its response';
    throw new HttpError(`it closed the connection ${where}`);
  }

  #addToLine(bytes: Uint8Array, from: number, to: number): void {
    const isSize = this.#state === 'chunk-size' || this.#state === 'chunk-end';
    const room = isSize ? maxChunkLineBytes - this.#line.length : maxHeadBytes - this.#headBytes;
    if (to - from > room) {
      throw new HttpError(
        isSize
          ? `it sent a chunk size longer than ${maxChunkLineBytes} bytes`
          : `it sent headers of more than ${maxHeadBytes} bytes`,
      );
    }
    if (!isSize) this.#headBytes += to - from;
    let text = '';
    for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]!);
    this.#line += text;
  }

  #readLine(): void {
    if (!this.#line.endsWith('\r')) throw malformed('a line does not end in CR LF', this.#line);
    const line = this.#line.slice(0, -1);
    this.#line = '';
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what must not be there.
    if (/[\0-\x08\x0a-\x1f\x7f]/.test(line)) throw malformed('control characters', line);
    switch (this.#state) {
      case 'status':
        this.#readStatus(line);
        break;
      case 'header':
        if (line === '') this.#endOfHead();
        else this.#readHeader(line);
        break;
      case 'chunk-size':
        this.#readChunkSize(line);
        break;
      case 'chunk-end':
        if (line !== '') throw malformed('a chunk is longer than its size', line);
        this.#state = 'chunk-size';
        break;
      case 'trailer':
        // Trailers must not change the meaning of the body, so their content is ignored.
        if (line === '') this.#state = 'end';
        else splitHeader(line);
        break;
    }
  }

  #readStatus(line: string): void {
    const match = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: .*)?$/.exec(line);
    if (!match) throw malformed('no HTTP/1.1 status line', line);
    this.#status = Number(match[2]);
    this.#isReusable = match[1] === '1';
    this.#headers = new Map();
    this.#state = 'header';
  }

  #readHeader(line: string): void {
    const [name, value] = splitHeader(line);
    const earlier = this.#headers.get(name);
    this.#headers.set(name, earlier === undefined ? value : `${earlier}, ${value}`);
  }

  #endOfHead(): void {
    const status = this.#status;
    if (status < 200) {
      if (status === 101) throw new HttpError('it switched to another protocol unasked');
      this.#state = 'status';
      return;
    }
    const headers = this.#headers;
    const coding = headers.get('transfer-encoding');
    const length = headers.get('content-length');
    // Checked before the head is reported: a response whose end is uncertain is an error.
    if (coding !== undefined) {
      if (length !== undefined) throw new HttpError('it gave the length in two ways');
      if (coding.toLowerCase() !== 'chunked' || !this.#isReusable) {
        throw malformed('an unknown transfer encoding', coding);
      }
    } else if (length !== undefined && !/^\d{1,15}$/.test(length)) {
      throw malformed('a malformed content-length', length);
    }
    const connection = headers.get('connection')?.toLowerCase().split(',') ?? [];
    if (connection.some((each) => each.trim() === 'close')) this.#isReusable = false;

    const hasNoBody = status === 204 || status === 304 || (this.#isConnect && status < 300);
    if (hasNoBody) this.#left = 0;
    else if (length !== undefined) this.#left = Number(length);
    else if (coding === undefined) {
      this.#left = Number.POSITIVE_INFINITY;
      this.#isReusable = false;
    }
    this.#state = coding !== undefined && !hasNoBody ? 'chunk-size' : 'body';
    this.#events.onHead({ status, headers });
    if (this.#state === 'body' && this.#left === 0) this.#state = 'end';
  }

  #readChunkSize(line: string): void {
    const match = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/.exec(line);
    if (!match) throw malformed('a malformed chunk size', line);
    this.#left = Number.parseInt(match[1]!, 16);
    this.#state = this.#left === 0 ? 'trailer' : 'chunk';
  }

  #endOfData(): void {
    if (this.#state === 'chunk') this.#state = 'chunk-end';
    else this.#state = 'end';
  }
}

function splitHeader(line: string): [name: string, value: string] {
  // A name is a token, directly followed by the colon (RFC 9112, 5.1).
  const match = /^([!#$%&'*+\-.^_`|~\dA-Za-z]+):/.exec(line);
  if (!match) throw malformed('a malformed header line', line);
  return [match[1]!.toLowerCase(), trimBlanks(line.slice(match[0].length))];
}

function malformed(what: string, text: string): HttpError {
  const shown = text.length > 60 ? `${text.slice(0, 60)}...` : text;
  return new HttpError(`it sent ${what}: ${JSON.stringify(shown)}`);
}
