import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { gzipSync } from 'node:zlib';
import type { ApiError } from '@heddle/web/contract';
import { contentSecurityPolicy } from '@heddle/web/security-policy';
import { ApiProblem } from './view.ts';

/** Shorter answers are not compressed, in bytes. */
const compressedLeast = 1024;

/** Sets the headers that all answers have. */
export function setHeaders(response: ServerResponse): void {
  response.setHeader('Content-Security-Policy', contentSecurityPolicy);
  response.setHeader('X-Content-Type-Options', 'nosniff');
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
  response.setHeader('Cache-Control', 'no-cache');
}

/**
 * Refuses a request that a web page of another origin makes a browser send: by its header `Origin`, or by a name of its
 * own that has become an address of the relay (DNS rebinding). `hosts` are the names by which the relay is
 * reached besides addresses and localhost; undefined allows all names. Throws ApiProblem.
 */
export function checkOrigin(request: IncomingMessage, hosts: readonly string[] | undefined): void {
  const { host = '', origin } = request.headers;
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase();
  const isKnown =
    hosts === undefined ||
    name === 'localhost' ||
    isIP(name) !== 0 ||
    hosts.some((known) => known.toLowerCase() === name);
  if (!isKnown) {
    throw new ApiProblem(
      403,
      'forbidden',
      `The relay is not known as ${name} (heddle relay --ui-host).`,
    );
  }
  if (origin !== undefined && !isSameHost(origin, host)) {
    throw new ApiProblem(403, 'forbidden', 'The request is of a page of another origin.');
  }
}

function isSameHost(origin: string, host: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}

/** Returns the bearer token of a request. */
export function bearerToken({ headers }: IncomingMessage): string | undefined {
  return /^Bearer ([\x21-\x7e]{1,8192})$/i.exec(headers.authorization ?? '')?.[1];
}

/** Sends a body with its hash as ETag, compressed if the client takes that; 304 if the client has it. */
export function sendBody(
  request: IncomingMessage,
  response: ServerResponse,
  type: string,
  body: Uint8Array,
  status = 200,
): void {
  const tag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 16)}"`;
  response.setHeader('ETag', tag);
  response.setHeader('Vary', 'Accept-Encoding, Authorization');
  if (status === 200 && request.headers['if-none-match'] === tag) {
    response.writeHead(304).end();
    return;
  }
  response.setHeader('Content-Type', type);
  const isCompressed =
    body.length >= compressedLeast && /\bgzip\b/.test(String(request.headers['accept-encoding']));
  const sent = isCompressed ? gzipSync(body, { level: 6 }) : body;
  if (isCompressed) response.setHeader('Content-Encoding', 'gzip');
  response.setHeader('Content-Length', sent.length);
  response.writeHead(status).end(request.method === 'HEAD' ? undefined : sent);
}

/** Sends an answer as JSON. */
export function sendJson(
  request: IncomingMessage,
  response: ServerResponse,
  answer: unknown,
  status = 200,
): void {
  const body = Buffer.from(JSON.stringify(answer));
  sendBody(request, response, 'application/json; charset=utf-8', body, status);
}

/** Returns a problem as the contract has it. */
export function errorOf({ code, message: text, word }: ApiProblem): ApiError {
  return { error: { code, text, ...(word === undefined ? {} : { word }) } };
}

/** Sends a problem. */
export function sendProblem(
  request: IncomingMessage,
  response: ServerResponse,
  problem: ApiProblem,
): void {
  const { status } = problem;
  if (status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="heddle"');
  sendJson(request, response, errorOf(problem), status);
}
