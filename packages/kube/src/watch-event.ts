import { type KubeError, StatusError } from './errors.ts';
import { type Fields, mergeFields } from './fields.ts';
import { ProtocolError } from './frames.ts';
import { readJson } from './json.ts';
import { type Identity, identify, identityFields, mapOf } from './listing.ts';

/** One line of a watch. */
export type WatchEvent =
  | { readonly op: 'set'; readonly identity: Identity; readonly object: unknown }
  | { readonly op: 'delete'; readonly identity: Identity }
  | {
      readonly op: 'bookmark';
      readonly version: string;
      /** True if all initial objects have been sent (KEP-3157). */
      readonly endsInitialEvents: boolean;
    };

/** Gone, too many requests, unavailable, timeout. Others concern the watched resource. */
const tellingCodes: readonly number[] = [410, 429, 503, 504];
const initialEventsEnd = 'k8s.io/initial-events-end';

/** Returns the fields of an event, given those of its object. */
export function eventFields(object: Fields): Fields {
  const own: Fields = {
    metadata: { annotations: { [initialEventsEnd]: true } },
    // The fields of the Status object of an error.
    code: true,
    reason: true,
    message: true,
    details: { retryAfterSeconds: true },
  };
  return { type: true, object: mergeFields(mergeFields(object, identityFields), own) };
}

/**
 * Reads a line of a watch. Throws StatusError for an ERROR event with 410 or with a status that is retried
 * later; ProtocolError for other ERROR events and other lines; and JsonError.
 */
export function readEvent(line: Uint8Array, fields: Fields): WatchEvent {
  const event = mapOf(readJson(line, fields));
  const object = event?.object;
  switch (event?.type) {
    case 'ADDED':
    case 'MODIFIED':
      return { op: 'set', identity: identify(object), object };
    case 'DELETED':
      return { op: 'delete', identity: identify(object) };
    case 'BOOKMARK':
      return readBookmark(object);
    case 'ERROR':
      throw readError(object);
    default:
      throw new ProtocolError('read watch event: it is of no known type');
  }
}

function readBookmark(object: unknown): WatchEvent {
  const metadata = mapOf(mapOf(object)?.metadata);
  const version = metadata?.resourceVersion;
  if (typeof version !== 'string' || version === '') {
    throw new ProtocolError('read bookmark: it has no resourceVersion');
  }
  const endsInitialEvents = mapOf(metadata?.annotations)?.[initialEventsEnd] === 'true';
  return { op: 'bookmark', version, endsInitialEvents };
}

function readError(object: unknown): KubeError {
  const { code, reason, message, details } = mapOf(object) ?? {};
  const text = `watch: ${typeof message === 'string' ? message : 'the server reports an error'}`;
  if (typeof code !== 'number' || !tellingCodes.includes(code)) return new ProtocolError(text);
  const seconds = mapOf(details)?.retryAfterSeconds;
  return new StatusError(
    text,
    code,
    typeof reason === 'string' ? reason : '',
    typeof seconds === 'number' ? seconds * 1000 : undefined,
  );
}
