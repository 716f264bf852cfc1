/** A response with a Status object (meta/v1) of a failure. */
export class StatusError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  /** A token with which an expired list can continue. */
  readonly continueToken: string | undefined;

  constructor(
    code: number,
    reason: string,
    message: string,
    more: { details?: Readonly<Record<string, unknown>>; continueToken?: string } = {},
  ) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.details = more.details;
    this.continueToken = more.continueToken;
  }
}

export function statusObject({ code, reason, message, details, continueToken }: StatusError) {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: continueToken === undefined ? {} : { continue: continueToken },
    status: 'Failure',
    message,
    reason,
    details,
    code,
  };
}

/** 410: the version has expired. */
export function expired(message: string, continueToken?: string): StatusError {
  return new StatusError(410, 'Expired', message, continueToken ? { continueToken } : {});
}

/** 504: the server's cache is not ready. */
export function tooLargeVersion(wanted: number, current: number): StatusError {
  return new StatusError(
    504,
    'Timeout',
    `Timeout: Too large resource version: ${wanted}, current: ${current}`,
    {
      details: {
        causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
        retryAfterSeconds: 1,
      },
    },
  );
}

/** 422 with the invalid field. */
export function invalid(field: string, message: string): StatusError {
  return new StatusError(422, 'Invalid', `ListOptions.meta.k8s.io "" is invalid: ${message}`, {
    details: { group: 'meta.k8s.io', kind: 'ListOptions', causes: [{ field, message }] },
  });
}
