/** An event of a stream of server-sent events. */
export interface ServerEvent {
  /** The name of the event; `message` if the stream gives none. */
  readonly name: string;
  readonly data: string;
}

/** The longest event, in characters. */
const eventMax = 1 << 26;

/**
 * Reads text/event-stream (HTML Living Standard, section 9.2.6) from pieces with any borders. The fields `id` and
 * `retry` are left out, because the page asks for a new stream after a break and sets its own times.
 */
export class EventParser {
  #isAfterReturn = false;
  #rest = '';
  #name = '';
  #data: string[] = [];
  #length = 0;

  /** Takes the next piece of the stream, and returns the events that it completes. Throws an Error for an event that is too long. */
  push(piece: string): ServerEvent[] {
    if (piece === '') return [];
    // A line may end in CR, LF or both, and a border may be between the two.
    const text = this.#isAfterReturn && piece.startsWith('\n') ? piece.slice(1) : piece;
    this.#isAfterReturn = piece.endsWith('\r');
    const lines = text.split(/\r\n|\r|\n/);
    lines[0] = this.#rest + lines[0]!;
    this.#rest = lines.pop()!;
    const events: ServerEvent[] = [];
    for (const line of lines) {
      const event = this.#readLine(line);
      if (event) events.push(event);
    }
    if (this.#length + this.#rest.length > eventMax) {
      throw new Error(`read stream: an event has more than ${eventMax} characters`);
    }
    return events;
  }

  /** Takes a whole line, and returns the event that it completes. */
  #readLine(line: string): ServerEvent | undefined {
    if (line === '') return this.#complete();
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') this.#name = value;
    if (field === 'data') {
      this.#data.push(value);
      this.#length += value.length;
    }
    return undefined;
  }

  #complete(): ServerEvent | undefined {
    const [name, data] = [this.#name || 'message', this.#data];
    [this.#name, this.#data, this.#length] = ['', [], 0];
    return data.length > 0 ? { name, data: data.join('\n') } : undefined;
  }
}

/** Calls a function for each event of a body in UTF-8, until the body ends. Rejects if the body breaks off. */
export async function readEvents(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  receive: (event: ServerEvent) => void,
): Promise<void> {
  const parser = new EventParser();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const event of parser.push(value)) receive(event);
  }
}
