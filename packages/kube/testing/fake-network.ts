import assert from 'node:assert/strict';
import { VirtualTime } from '@heddle/state/testing/virtual-time';
import {
  type ByteStream,
  type ByteStreamOptions,
  decodeUtf8,
  encodeUtf8,
  formatEndpoint,
  type Platform,
  type TlsOptions,
} from '@heddle/sys';

/** A stream with the test at its other end. */
export class FakeStream implements ByteStream {
  readonly #options: ByteStreamOptions;
  #written = '';
  #secure: (() => void) | undefined;
  readonly tls: TlsOptions[] = [];
  isDisposed = false;

  constructor(options: ByteStreamOptions) {
    this.#options = options;
  }

  get target(): string {
    return formatEndpoint(this.#options.host, this.#options.port);
  }

  write(bytes: Uint8Array): void {
    assert.ok(!this.isDisposed);
    this.#written += decodeUtf8(bytes);
  }

  startTls(options: TlsOptions, onSecure: () => void): void {
    assert.ok(!this.isDisposed);
    this.tls.push(options);
    this.#secure = onSecure;
  }

  [Symbol.dispose](): void {
    this.isDisposed = true;
  }

  open(): this {
    if (!this.isDisposed) this.#options.onOpen();
    return this;
  }

  secure(): this {
    const secure = this.#secure;
    this.#secure = undefined;
    if (!this.isDisposed) secure?.();
    return this;
  }

  /** Returns the bytes written since the last call. */
  written(): string {
    const text = this.#written;
    this.#written = '';
    return text;
  }

  send(text: string | Uint8Array): this {
    if (!this.isDisposed) this.#options.onData(typeof text === 'string' ? encodeUtf8(text) : text);
    return this;
  }

  close(error?: Error): void {
    if (!this.isDisposed) this.#options.onClose(error);
  }
}

/** A clock and streams that the test controls. */
export class FakeNetwork {
  readonly time = new VirtualTime();
  readonly streams: FakeStream[] = [];
  readonly platform = Object.assign(this.time, {
    connect: (options: ByteStreamOptions): ByteStream => {
      const stream = new FakeStream(options);
      options.onAddresses?.([options.host]);
      this.streams.push(stream);
      return stream;
    },
  }) as unknown as Platform;

  /** The stream that was opened last. */
  get last(): FakeStream {
    const stream = this.streams.at(-1);
    assert.ok(stream, 'no stream was opened');
    return stream;
  }
}
