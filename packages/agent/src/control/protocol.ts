import { encodeUtf8 } from '@heddle/sys';

/**
 * The control protocol: one JSON value per line, both ways, over a unix stream socket.
 *
 * Request:  {"version":1,"id":1,"method":"status","params":{}}
 * Reply:    {"version":1,"id":1,"result":...} or {"version":1,"id":1,"error":{"code":..,"message":..}}
 * Event:    {"version":1,"id":1,"event":...}, any number, after the reply to a method such as `events.follow`
 *
 * `id` is a number or a string that the client chooses; it is null in the reply to a line whose id could not
 * be read. Lists are divided into pages: `next` of a result is `after` of the next request.
 */
export const protocolVersion = 1;

/** The longest request line in bytes, without its newline. A longer one ends the connection. */
export const longestRequest = 64 * 1024;

export type RequestId = number | string;

export interface Request {
  readonly id: RequestId;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

export type ErrorCode =
  /** The line is not a JSON object of the form above. */
  | 'bad-request'
  | 'unsupported-version'
  | 'unknown-method'
  /** A parameter is missing or of the wrong type. */
  | 'bad-params'
  | 'not-found'
  | 'line-too-long'
  /** The server has its largest number of clients. */
  | 'busy'
  /** The server failed; its log has the error. */
  | 'internal';

/** An error that is sent to the other side. */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export interface Reply {
  readonly id: RequestId | null;
  readonly result?: unknown;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
  readonly event?: unknown;
}

/** A request, or the error of a line and its id, if that could be read. */
export type ParsedRequest =
  | { readonly request: Request }
  | { readonly error: ControlError; readonly id: RequestId | null };

/** Parses a line (without its newline) of a client. Never throws. */
export function parseRequest(line: string): ParsedRequest {
  const value = parseObject(line);
  if (!value) {
    return {
      id: null,
      error: new ControlError(
        'bad-request',
        'read request: not a JSON object (send one per line, e.g. {"version":1,"id":1,"method":"status"})',
      ),
    };
  }
  const id = isId(value.id) ? value.id : null;
  const fail = (code: ErrorCode, message: string): ParsedRequest => ({
    id,
    error: new ControlError(code, message),
  });
  if (value.version !== protocolVersion) {
    return fail(
      'unsupported-version',
      `read request: version ${shown(value.version)} is not spoken here (use ${protocolVersion})`,
    );
  }
  if (id === null) return fail('bad-request', 'read request: id is neither a number nor a string');
  const { method } = value;
  if (typeof method !== 'string') {
    return fail('unknown-method', `read request: method is ${shown(method)}, and must be text`);
  }
  const params = value.params ?? {};
  if (!isObject(params)) return fail('bad-params', 'read request: params is not an object');
  return { request: { id, method, params } };
}

/** Parses a line (without its newline) of a server. Throws ControlError. */
export function parseReply(line: string): Reply {
  const value = parseObject(line);
  if (!value) throw new ControlError('bad-request', 'read reply: not a JSON object');
  if (value.version !== protocolVersion) {
    throw new ControlError(
      'unsupported-version',
      `read reply: version ${shown(value.version)} is not spoken here (agent and command are of different releases)`,
    );
  }
  const id = isId(value.id) ? value.id : null;
  if (isObject(value.error)) {
    const { code, message } = value.error;
    return { id, error: { code: String(code) as ErrorCode, message: String(message) } };
  }
  if ('event' in value) return { id, event: value.event };
  if (!('result' in value)) {
    throw new ControlError('bad-request', 'read reply: neither result nor error nor event');
  }
  return { id, result: value.result };
}

/** Returns the bytes of a request line, newline included. */
export function encodeRequest(request: Request): Uint8Array {
  return encodeUtf8(`${JSON.stringify({ version: protocolVersion, ...request })}\n`);
}

/** Returns the bytes of a reply or event line, newline included. */
export function encodeReply(reply: Reply): Uint8Array {
  return encodeUtf8(`${JSON.stringify({ version: protocolVersion, ...reply })}\n`);
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is RequestId {
  return (
    (typeof value === 'number' && Number.isFinite(value)) ||
    (typeof value === 'string' && value.length <= 256)
  );
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Returns a parameter that must be text if it is given. Throws ControlError. */
export function textParam(params: Request['params'], name: string): string | undefined {
  const value = params[name];
  if (value === undefined || typeof value === 'string') return value;
  throw new ControlError('bad-params', `read request: params.${name} is not text`);
}
