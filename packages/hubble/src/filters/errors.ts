/**
 * A filter that cannot be used. The message names the field, the value and what is expected, e.g. `filter
 * source_port: "http" is not a port number (0 to 65535)`.
 */
export class FilterError extends Error {
  override readonly name = 'FilterError';

  /** `field` is the name of the field in the API. */
  constructor(field: string, problem: string, options?: ErrorOptions) {
    super(`filter ${field}: ${problem}`, options);
  }
}
