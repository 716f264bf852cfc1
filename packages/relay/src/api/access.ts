import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ApiProblem, type CanSee } from './view.ts';

/** A reader of the page, with what it may see. */
export interface Reader {
  readonly canSee: CanSee;
  /** The namespaces that the reader may see, or undefined for all. */
  readonly namespaces?: readonly string[];
}

/** Decides who may read. */
export interface Access {
  /** True if readers prove who they are, so that a web page of somebody else cannot read on their behalf. */
  readonly isProtected: boolean;
  /** Returns the reader with a bearer token, which is undefined if the request has none. Throws ApiProblem. */
  admit(token: string | undefined): Promise<Reader>;
}

const everything: Reader = { canSee: () => true };

/** Lets everybody who reaches the address read everything. */
export const openAccess: Access = { isProtected: false, admit: async () => everything };

/** The token file is read again after this time, in milliseconds, so that a changed token takes effect. */
const rereadMs = 5000;

/** Lets those read who have the token of a file. The file is read again, so that the token can be changed. */
export class TokenAccess implements Access {
  readonly isProtected = true;
  readonly #file: string;
  #digest: Buffer;
  #readAt: number;

  /** Throws an Error that names the file if it cannot be read or has no token. */
  constructor(file: string) {
    this.#file = file;
    this.#digest = digestOf(readToken(file));
    this.#readAt = Date.now();
  }

  async admit(token: string | undefined): Promise<Reader> {
    if (Date.now() - this.#readAt >= rereadMs) {
      // While the file cannot be read, each request fails.
      this.#digest = digestOf(readToken(this.#file));
      this.#readAt = Date.now();
    }
    if (token !== undefined && timingSafeEqual(digestOf(token), this.#digest)) return everything;
    throw notAdmitted(token);
  }
}

/** Returns the problem of a request without a token, or with one that is not accepted. */
export function notAdmitted(token: string | undefined): ApiProblem {
  const text =
    token === undefined ? 'The relay asks for a token.' : 'The relay does not accept this token.';
  return new ApiProblem(401, 'forbidden', text);
}

function readToken(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`read token file ${file}: ${why}`, { cause });
  }
  if (text.length < 16) {
    throw new Error(
      `read token file ${file}: the token has ${text.length} characters; it must have 16 or more`,
    );
  }
  return text;
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
