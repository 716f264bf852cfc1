import { Buffer } from 'node:buffer';
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { parseIp } from '../src/index.ts';

/** A certificate and its key, as PEM. */
export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** Common name of the subject; for clients it is the user's name. */
  readonly name: string;
  /** Organizations of the subject; for clients they are the user's groups. */
  readonly groups?: readonly string[];
  /** Names and IP addresses that a server's certificate is for. */
  readonly hosts?: readonly string[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

const hourMs = 3_600_000;

/** A CA of a test. By default its certificates are valid for an hour. */
export class CertificateAuthority {
  /** Its own certificate, as PEM. */
  readonly cert: string;
  readonly #name: Buffer;
  readonly #key: KeyObject;

  constructor(name = 'test authority') {
    const { privateKey, publicKey } = newKey();
    // Certificates identify their issuer by its name, so two CAs must have different names.
    this.#name = distinguishedName(`${name} ${randomBytes(4).toString('hex')}`, []);
    this.#key = privateKey;
    const extensions = [
      extension(oids.basicConstraints, sequence(boolean(true)), true),
      extension(oids.keyUsage, keyUsage(0x06), true),
    ];
    this.cert = this.#sign(this.#name, publicKey, extensions, {});
  }

  /** Issues a certificate for servers and clients, with a new key. */
  issue(options: CertificateOptions): KeyPair {
    const { privateKey, publicKey } = newKey();
    const extensions = [
      extension(oids.keyUsage, keyUsage(0x80), true),
      extension(oids.extendedKeyUsage, sequence(oid(oids.serverAuth), oid(oids.clientAuth))),
    ];
    if (options.hosts?.length) {
      extensions.push(
        extension(oids.subjectAltName, sequence(...options.hosts.map(alternativeName))),
      );
    }
    const subject = distinguishedName(options.name, options.groups ?? []);
    return {
      cert: this.#sign(subject, publicKey, extensions, options),
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    };
  }

  #sign(
    subject: Buffer,
    publicKey: KeyObject,
    extensions: readonly Buffer[],
    { notBefore, notAfter }: Partial<CertificateOptions>,
  ): string {
    const algorithm = sequence(oid(oids.ecdsaWithSha256));
    // TBSCertificate of RFC 5280, 4.1.
    const content = sequence(
      tagged(0xa0, integer(Buffer.of(2))),
      integer(Buffer.concat([Buffer.of(1), randomBytes(15)])),
      algorithm,
      this.#name,
      sequence(
        time(notBefore ?? new Date(Date.now() - hourMs)),
        time(notAfter ?? new Date(Date.now() + hourMs)),
      ),
      subject,
      publicKey.export({ type: 'spki', format: 'der' }),
      tagged(0xa3, sequence(...extensions)),
    );
    const signature = tagged(0x03, Buffer.of(0), sign('sha256', content, this.#key));
    const lines = sequence(content, algorithm, signature)
      .toString('base64')
      .match(/.{1,64}/g)!;
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
  }
}

const oids = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
};

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
}

// DER (X.690): each value is a tag, its length, and its content.

function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}

const sequence = (...parts: readonly Uint8Array[]) => tagged(0x30, ...parts);
const integer = (bytes: Uint8Array) => tagged(0x02, bytes);
const boolean = (value: boolean) => tagged(0x01, Buffer.of(value ? 0xff : 0));
const octets = (bytes: Uint8Array) => tagged(0x04, bytes);

function oid(dotted: string): Buffer {
  const [first, second, ...rest] = dotted.split('.').map(Number);
  const bytes = [first! * 40 + second!];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return tagged(0x06, Buffer.from(bytes));
}

function distinguishedName(commonName: string, organizations: readonly string[]): Buffer {
  const attribute = (type: string, value: string) =>
    tagged(0x31, sequence(oid(type), tagged(0x0c, Buffer.from(value))));
  return sequence(
    ...organizations.map((each) => attribute(oids.organization, each)),
    attribute(oids.commonName, commonName),
  );
}

function time(at: Date): Buffer {
  // GeneralizedTime from 2050 on, UTCTime before.
  const digits = `${at.toISOString().replace(/\D/g, '').slice(0, 14)}Z`;
  return digits >= '2050'
    ? tagged(0x18, Buffer.from(digits))
    : tagged(0x17, Buffer.from(digits.slice(2)));
}

function extension(type: string, value: Uint8Array, isCritical = false): Buffer {
  return sequence(oid(type), ...(isCritical ? [boolean(true)] : []), octets(value));
}

function keyUsage(bits: number): Buffer {
  return tagged(0x03, Buffer.of(0, bits));
}

function alternativeName(host: string): Buffer {
  const address = parseIp(host);
  if (!address) return tagged(0x82, Buffer.from(host));
  return tagged(0x87, host.includes(':') ? address : address.subarray(12));
}
