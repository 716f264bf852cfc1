/** An error of the access to API servers. Messages name the server and have a remedy. */
export class KubeError extends Error {
  override readonly name: string = 'KubeError';
}

/** A kubeconfig, or a file that it refers to, can't be used. */
export class KubeconfigError extends KubeError {
  override readonly name = 'KubeconfigError';
}

/**
 * No API server could be reached, or a connection broke. If there is one reason, `cause` is a SysError,
 * LookupError, TlsError or HttpError.
 */
export class ConnectionError extends KubeError {
  override readonly name = 'ConnectionError';
}

/** The bytes from a server are not HTTP. The connection can't be used again. */
export class HttpError extends KubeError {
  override readonly name = 'HttpError';
}

/** The API server responded to a request with an error. */
export class StatusError extends KubeError {
  override readonly name = 'StatusError';
  /** The status code of HTTP, e.g. 410. */
  readonly status: number;
  /** Kubernetes' reason in one word, e.g. `Expired`; empty if the response has none. */
  readonly reason: string;
  /** The delay that the server demands, in Retry-After or the Status object. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, status: number, reason: string, retryAfterMs?: number) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}
