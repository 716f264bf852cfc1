import { decodeUtf8, type Platform, readFile, SysError } from '@heddle/sys';
import type { Credentials } from './access.ts';
import { KubeconfigError, KubeError } from './errors.ts';

/** A text, or the file that has it. */
export type Material = { readonly text: string } | { readonly file: string };

/** The origin of each part of the credentials. */
export type Materials = { readonly [part in keyof Credentials]?: Material };

const parts = ['ca', 'cert', 'key', 'token'] as const;

/**
 * Credentials whose parts may be in files. The files are read for each request, which are rare, so that a
 * rotation needs no notification.
 */
export class CredentialFiles {
  readonly #platform: Platform;
  readonly #materials: Materials;
  #last: Credentials | undefined;

  constructor(platform: Platform, materials: Materials) {
    this.#platform = platform;
    this.#materials = materials;
  }

  /** Returns the credentials, the same object as before if nothing has changed. Throws KubeconfigError. */
  read(): Credentials {
    const credentials: { -readonly [part in keyof Credentials]: string } = {};
    for (const part of parts) {
      const material = this.#materials[part];
      if (!material) continue;
      const text = 'text' in material ? material.text : this.#readFile(material.file);
      credentials[part] = part === 'token' ? checkToken(text, material) : text;
    }
    const last = this.#last;
    if (last && isSame(last, credentials)) return last;
    this.#last = credentials;
    return credentials;
  }

  /** Implements `credentials` of ClusterAccess: calls `onReady` at once. */
  give(onReady: (result: Credentials | KubeError) => void): Disposable {
    let result: Credentials | KubeError;
    try {
      result = this.read();
    } catch (error) {
      if (!(error instanceof KubeError)) throw error;
      result = error;
    }
    onReady(result);
    return { [Symbol.dispose]() {} };
  }

  #readFile(path: string): string {
    try {
      return decodeUtf8(readFile(this.#platform, path));
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new KubeconfigError(`get credentials: ${error.message}`, { cause: error });
    }
  }
}

export function isSame(a: Credentials, b: Credentials): boolean {
  return parts.every((part) => a[part] === b[part]);
}

function checkToken(text: string, material: Material): string {
  const token = text.trim();
  // It becomes a part of a header.
  if (isToken(token)) return token;
  const place = 'file' in material ? material.file : 'the token';
  throw new KubeconfigError(
    `get credentials: ${place} ${token === '' ? 'is empty' : 'has characters that no token has'}`,
  );
}

/** Returns true if `text` can be a bearer token. */
export function isToken(text: string): boolean {
  return /^[!-~]+$/.test(text);
}
