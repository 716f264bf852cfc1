import assert from 'node:assert/strict';
import { encodeUtf8 } from '@heddle/sys';
import type { ResponseHandlers } from '../src/api-request.ts';
import { ConnectionError, type KubeError, StatusError } from '../src/errors.ts';

/** A request to which the test responds. */
export class FakeRequest implements Disposable {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly #handlers: ResponseHandlers;
  isOver = false;
  #hasHead = false;

  constructor(path: string, handlers: ResponseHandlers) {
    const [before = '', after = ''] = path.split('?');
    this.path = before;
    this.query = Object.fromEntries(
      after.split('&').map((part) => part.split('=').map(decodeURIComponent)),
    );
    this.#handlers = handlers;
  }

  /** `stream`, `list` or `watch`. */
  get kind(): string {
    return this.query.sendInitialEvents ? 'stream' : this.query.watch ? 'watch' : 'list';
  }

  head(): this {
    assert.ok(!this.isOver && !this.#hasHead);
    this.#hasHead = true;
    this.#handlers.onHead(200, new Map());
    return this;
  }

  /** Sends bytes or text, after the head if that wasn't sent. Nothing after the client has left. */
  send(...pieces: readonly (string | Uint8Array)[]): this {
    for (const piece of pieces) {
      if (!this.isOver && !this.#hasHead) this.head();
      if (this.isOver) break;
      this.#handlers.onBody(typeof piece === 'string' ? encodeUtf8(piece) : piece);
    }
    return this;
  }

  end(error?: KubeError): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#handlers.onEnd(error);
  }

  cut(): void {
    this.end(new ConnectionError('read from api.example: the connection broke'));
  }

  refuse(status: number, retryAfterMs?: number, reason = 'Scripted'): void {
    this.end(new StatusError(`get: the server says ${status}`, status, reason, retryAfterMs));
  }

  [Symbol.dispose](): void {
    this.isOver = true;
  }
}

/** A client whose requests wait for a response of the test. */
export class FakeClient {
  server = 'https://api.example:6443';
  readonly requests: FakeRequest[] = [];

  get(path: string, handlers: ResponseHandlers): FakeRequest {
    const request = new FakeRequest(path, handlers);
    this.requests.push(request);
    return request;
  }

  /** The newest request, which must be in progress. */
  get request(): FakeRequest {
    const request = this.requests.at(-1);
    assert.ok(request && !request.isOver, 'no request is under way');
    return request;
  }

  get isIdle(): boolean {
    return this.requests.every(({ isOver }) => isOver);
  }
}

interface SmallObject {
  readonly name: string;
  readonly version: number;
  readonly text?: string;
}

function objectOf({ name, version, text = '' }: SmallObject) {
  const slash = name.indexOf('/');
  const namespace = slash < 0 ? undefined : name.slice(0, slash);
  return {
    metadata: {
      name: name.slice(slash + 1),
      namespace,
      resourceVersion: String(version),
      managedFields: [{ manager: 'x' }],
    },
    text,
  };
}

const typeOfThing = { kind: 'Thing', apiVersion: 'example/v1' };

/** Returns a line of a watch response about the object `name` (`namespace/name` or `name`). */
export function event(type: string, name: string, version: number, text?: string): string {
  const object = { ...typeOfThing, ...objectOf({ name, version, text: text ?? '' }) };
  return `${JSON.stringify({ type, object })}\n`;
}

export function bookmark(version: number, endsInitialEvents = false): string {
  const annotations = endsInitialEvents ? { 'k8s.io/initial-events-end': 'true' } : undefined;
  const metadata = { resourceVersion: String(version), creationTimestamp: null, annotations };
  return `${JSON.stringify({ type: 'BOOKMARK', object: { ...typeOfThing, metadata } })}\n`;
}

export function errorEvent(code: number, more: object = {}): string {
  const object = { kind: 'Status', status: 'Failure', message: `it is ${code}`, code, ...more };
  return `${JSON.stringify({ type: 'ERROR', object })}\n`;
}

/** Returns a list, or a page of it when there is a token. */
export function listOf(version: number, items: readonly SmallObject[], token?: string): string {
  return JSON.stringify({
    kind: 'ThingList',
    apiVersion: 'example/v1',
    metadata: { resourceVersion: String(version), continue: token },
    items: items.map(objectOf),
  });
}
