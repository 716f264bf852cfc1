import { createPrivateKey, X509Certificate } from 'node:crypto';
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

/** Reads the files. Throws an Error that names the file that cannot be read or used, and what it should have. */
export function readTlsFiles({ certificate, key, clientAuthority }: TlsFiles): TlsMaterial {
  const material = {
    cert: read('certificate', certificate),
    key: read('key', key),
    ca: clientAuthority === undefined ? undefined : read('client authority', clientAuthority),
  };
  const own = parsed('certificate', certificate, () => new X509Certificate(material.cert));
  const privateKey = parsed('key', key, () => createPrivateKey(material.key));
  if (!own.checkPrivateKey(privateKey)) {
    throw new Error(
      `use TLS key ${key}: it is not the key of the certificate ${certificate}; give the two files that were made together`,
    );
  }
  const { ca } = material;
  if (ca) parsed('client authority', clientAuthority!, () => new X509Certificate(ca));
  return material;
}

/** The receivers of what a watch of files finds. */
export interface TlsWatchOptions {
  /** The contents that are in use. */
  readonly material: TlsMaterial;
  /** Takes changed contents into use. */
  readonly apply: (material: TlsMaterial) => void;
  readonly onProblem: (message: string) => void;
  /** Milliseconds. Default: 10 s. */
  readonly interval?: number | undefined;
}

/**
 * Reads the files again and again, and applies contents that have changed. Files that cannot be used leave those in use
 * as they are, which is reported once.
 */
export function watchTlsFiles(
  files: TlsFiles,
  { material: first, apply, onProblem, interval = 10_000 }: TlsWatchOptions,
): Disposable {
  let material = first;
  let problem = '';
  const timer = setInterval(() => {
    try {
      const next = readTlsFiles(files);
      if (!isSameMaterial(material, next)) apply(next);
      material = next;
      problem = '';
    } catch (error) {
      // Certificate and key are replaced one after the other, so the next look may succeed.
      const why = messageOf(error);
      if (why !== problem) onProblem(`the TLS certificates stay as they are: ${why}`);
      problem = why;
    }
  }, interval).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Returns true if the contents are the same. */
function isSameMaterial(one: TlsMaterial, other: TlsMaterial): boolean {
  const isSame = (a: Buffer | undefined, b: Buffer | undefined) =>
    a === undefined || b === undefined ? a === b : a.equals(b);
  return isSame(one.cert, other.cert) && isSame(one.key, other.key) && isSame(one.ca, other.ca);
}

function read(what: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new Error(`read TLS ${what} ${path}: ${messageOf(cause)}`, { cause });
  }
}

/** Returns the content of a file. Throws an Error that names the file and what it must have. */
function parsed<T>(what: string, path: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    const wanted = what === 'key' ? 'a private key without a passphrase' : 'a certificate';
    throw new Error(`use TLS ${what} ${path}: ${messageOf(cause)}; it must have ${wanted} in PEM`, {
      cause,
    });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
