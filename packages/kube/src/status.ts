import { decodeUtf8 } from '@heddle/sys';
import { StatusError } from './errors.ts';
import type { ResponseHead } from './http-response.ts';

/** The number of bytes that are read of an error response. */
export const maxStatusBytes = 65536;
const maxRetryAfterMs = 300_000;
const maxMessageLength = 500;

/**
 * Returns the error of an error response. `what` reads `verb noun`. `body` may be anything: a Status object
 * of Kubernetes, the page of a proxy, or a part of these.
 */
export function readStatus(
  what: string,
  head: ResponseHead,
  body: Uint8Array,
  origin: string,
  nowMs: number,
): StatusError {
  const text = decodeUtf8(body);
  const { message, reason, details } = asStatus(text);
  const said = clean(typeof message === 'string' ? message : text);
  const { status } = head;
  const words = `${what}: status ${status}${said === '' ? '' : `: ${said}`}${advice(status, origin)}`;
  const asked = retryAfterMs(head, nowMs) ?? detailsMs(details);
  const limited = asked === undefined ? undefined : Math.min(asked, maxRetryAfterMs);
  return new StatusError(words, status, typeof reason === 'string' ? clean(reason) : '', limited);
}

function asStatus(text: string): { message?: unknown; reason?: unknown; details?: unknown } {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** Returns one line that is safe to print. */
function clean(text: string): string {
  const line = text.replace(/[\0-\x20\x7f-\x9f]+/g, ' ').trim();
  return line.length > maxMessageLength ? `${line.slice(0, maxMessageLength)}...` : line;
}

function advice(status: number, origin: string): string {
  if (status === 401) return ` (${origin}: its credentials are not accepted; have they expired?)`;
  if (status === 403) return ' (the rights that heddle needs are printed by `heddle manifests`)';
  if (status >= 300 && status < 400) return ' (give the address that this leads to)';
  return '';
}

/** Reads Retry-After: a number of seconds, or a date (RFC 9110, 10.2.3). */
function retryAfterMs({ headers }: ResponseHead, nowMs: number): number | undefined {
  const value = headers.get('retry-after');
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

function detailsMs(details: unknown): number | undefined {
  const seconds = (details as { retryAfterSeconds?: unknown } | undefined | null)
    ?.retryAfterSeconds;
  return typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined;
}
