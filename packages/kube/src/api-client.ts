import type { Platform } from '@heddle/sys';
import type { ClusterAccess } from './access.ts';
import { ConnectionError, type KubeError } from './errors.ts';

/** Who hears of the answer to a request. Nothing is called once the request was disposed. */
export interface ResponseHandlers {
  /** The answer is a success (2xx) and begins. Names of headers are in lower case. */
  onHead(status: number, headers: ReadonlyMap<string, string>): void;
  /** Some bytes of the body; they are valid during the call. */
  onBody(bytes: Uint8Array): void;
  /**
   * Called once: the answer is whole, or `error` says why not. An answer that is no success comes
   * as a StatusError, without onHead and onBody.
   */
  onEnd(error?: KubeError): void;
}

/** An API server other than the configured ones. */
export interface DiscoveredServer {
  readonly host: string;
  readonly port: number;
}

/** Makes requests to the first API server that can be reached. */
export class ApiClient implements Disposable {
  readonly #access: ClusterAccess;

  constructor(_platform: Platform, access: ClusterAccess) {
    this.#access = access;
  }

  /** URL of the server that is in use, or was last. */
  get server(): string {
    const [first] = this.#access.servers;
    return first ? `https://${first.host}:${first.port}` : '';
  }

  /** Says where else API servers are: the endpoints of the service default/kubernetes. */
  setDiscovered(_servers: readonly DiscoveredServer[]): void {}

  /** Asks for `path` (with its query). Disposing aborts. */
  get(_path: string, handlers: ResponseHandlers): Disposable {
    handlers.onEnd(new ConnectionError('not written yet'));
    return { [Symbol.dispose]() {} };
  }

  [Symbol.dispose](): void {}
}
