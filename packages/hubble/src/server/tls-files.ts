import { readFileSync } from 'node:fs';

/** The paths of the files of a TLS server, in PEM. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** The authorities of clients' certificates. If it is present, clients must have a certificate. */
  readonly clientAuthority?: string | undefined;
}

/** The contents of the files. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | undefined;
}

/** Reads the files. Throws an Error that names the file that cannot be read. */
export function readTlsFiles({ certificate, key, clientAuthority }: TlsFiles): TlsMaterial {
  return {
    cert: read('certificate', certificate),
    key: read('key', key),
    ca: clientAuthority === undefined ? undefined : read('client authority', clientAuthority),
  };
}

/** Returns true if the contents are the same. */
export function isSameMaterial(one: TlsMaterial, other: TlsMaterial): boolean {
  const isSame = (a: Buffer | undefined, b: Buffer | undefined) =>
    a === undefined || b === undefined ? a === b : a.equals(b);
  return isSame(one.cert, other.cert) && isSame(one.key, other.key) && isSame(one.ca, other.ca);
}

function read(what: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new Error(`read TLS ${what} ${path}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}
