import { exitCodes, Failure } from '@heddle/control/failure';
import { type Place, parsePlace, type TlsFiles } from '@heddle/hubble';

/** The options of a server with TLS. */
export interface TlsOptions {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsClientCa?: string;
}

/** Returns the files of TLS, or undefined if there are none. Throws Failure if one is missing. */
export function tlsOf({ tlsCert, tlsKey, tlsClientCa }: TlsOptions): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined && tlsClientCa === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new Failure(exitCodes.usage, 'TLS needs both --tls-cert and --tls-key');
  }
  return { certificate: tlsCert, key: tlsKey, clientAuthority: tlsClientCa };
}

/** Reads an address of an option. Throws Failure that names the option. */
export function placeOf(flag: string, text: string): Place {
  const place = parsePlace(text);
  if (!place) {
    throw new Failure(
      exitCodes.usage,
      `${flag}: "${text}" is no address (unix:///PATH, HOST:PORT or :PORT)`,
    );
  }
  return place;
}

/** Returns a promise that resolves when the process is asked to end. */
export function endSignal(): Promise<unknown> {
  return new Promise((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, resolve);
  });
}
