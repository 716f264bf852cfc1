import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CertificateAuthority, type KeyPair } from '@heddle/sys/testing/certificates';
import type { TlsFiles } from '../src/server/tls-files.ts';

/** The name in the certificates of `makeCertificates`. */
export const serverName = 'observer.test';

/** An authority, and certificates that it has signed for a server and a client, as PEM. */
export interface Certificates {
  readonly ca: string;
  readonly server: KeyPair;
  readonly client: KeyPair;
}

/** Makes an authority and its certificates. */
export function makeCertificates(): Certificates {
  const authority = new CertificateAuthority();
  const hosts = [serverName];
  return {
    ca: authority.cert,
    server: authority.issue({ name: 'server', hosts }),
    client: authority.issue({ name: 'client' }),
  };
}

/** Writes what a server with certificates of clients needs to a folder. */
export function writeTlsFiles(folder: string, { ca, server }: Certificates): TlsFiles {
  const file = (name: string, content: string) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  return {
    certificate: file('tls.crt', server.cert),
    key: file('tls.key', server.key),
    clientAuthority: file('ca.crt', ca),
  };
}
