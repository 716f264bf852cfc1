/** What can go wrong between Heddle and the API server. Messages name the server and what to do. */
export class KubeError extends Error {
  override readonly name: string = 'KubeError';
}

/** A kubeconfig, or what it refers to, cannot be used. */
export class KubeconfigError extends KubeError {
  override readonly name = 'KubeconfigError';
}

/**
 * No API server could be reached, or the connection broke. `cause`, when it is one: a SysError,
 * LookupError, TlsError or HttpError.
 */
export class ConnectionError extends KubeError {
  override readonly name = 'ConnectionError';
}

/** What came from a server is not HTTP as it is agreed; the connection is of no more use. */
export class HttpError extends KubeError {
  override readonly name = 'HttpError';
}

/** The API server answered a request with something other than success. */
export class StatusError extends KubeError {
  override readonly name = 'StatusError';
  /** HTTP's, e.g. 410. */
  readonly status: number;
  /** Kubernetes' reason in one word, e.g. `Expired`; empty when the answer had none. */
  readonly reason: string;
  /** How long the server asks to be left alone, from Retry-After or the Status object. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, status: number, reason: string, retryAfterMs?: number) {
    super(message);
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}
