import type { LookupFunction, Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import { LookupError, SysError, TlsError, type TlsFailure } from '../errors.ts';
import { formatEndpoint } from '../ip.ts';
import type { ByteStream, ByteStreamOptions, TlsOptions } from '../platform.ts';

const keepAliveMs = 30_000;

/**
 * Opens a byte stream (see ByteStream). node:net and node:tls are loaded at their first use: an agent that
 * reads a folder saves their 4 MiB.
 */
export function openStream(options: ByteStreamOptions): ByteStream {
  const { host, port } = options;
  const { connect, isIP } = process.getBuiltinModule('node:net');
  let isOver = false;
  const onAddresses = (addresses: readonly string[]) => {
    if (!isOver) options.onAddresses?.(addresses);
  };
  // An address is not looked up.
  if (isIP(host) !== 0) onAddresses([host]);
  const close = (error?: Error) => {
    if (isOver) return;
    isOver = true;
    socket.destroy();
    options.onClose(error);
  };
  const onData = (bytes: Uint8Array) => {
    if (!isOver) options.onData(bytes);
  };
  const listen = (to: Socket, whenFailed: (error: NodeJS.ErrnoException) => Error) => {
    to.on('data', onData);
    to.on('error', (error) => close(whenFailed(error)));
    to.on('close', () => close());
  };

  let socket: Socket = connect({
    host,
    port,
    lookup: lookup(onAddresses),
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  });
  socket.on('connect', () => {
    if (!isOver) options.onOpen();
  });
  listen(socket, (error) => connectionError(error, host, port));

  return {
    write: (bytes) => void socket.write(bytes),
    startTls(tls, onSecure) {
      socket.removeListener('data', onData);
      try {
        const secure = wrapInTls(socket, tls, host);
        let certificate: PeerCertificate | undefined;
        // Before Node.js verifies it and closes the socket, after which it is not available.
        secure.prependListener('secure', () => {
          certificate = secure.getPeerCertificate();
        });
        secure.on('secureConnect', () => {
          if (!isOver) onSecure();
        });
        listen(secure, (error) => tlsError(error, host, port, certificate));
        socket = secure;
      } catch (error) {
        // Later, because the caller may not be ready for a call of `onClose` from within its own call.
        setImmediate(close, new TlsError('material', `use the certificates: ${text(error)}`));
      }
    },
    [Symbol.dispose]() {
      isOver = true;
      socket.destroy();
    },
  };
}

/** Returns the name lookup of net.connect, which also reports the addresses. */
function lookup(onAddresses: (addresses: readonly string[]) => void): LookupFunction {
  const dns = process.getBuiltinModule('node:dns');
  return (name, options, callback) =>
    dns.lookup(name, options, (error, found, family) => {
      if (!error) {
        onAddresses(typeof found === 'string' ? [found] : found.map(({ address }) => address));
      }
      callback(error, found, family);
    });
}

function wrapInTls(socket: Socket, options: TlsOptions, host: string): TLSSocket {
  const { connect, getCACertificates } = process.getBuiltinModule('node:tls');
  const { isIP } = process.getBuiltinModule('node:net');
  const name = options.serverName ?? host;
  return connect({
    socket,
    // The certificate must be for this name. The server name that is sent must not be an address (RFC 6066).
    host: name,
    servername: isIP(name) === 0 ? name : undefined,
    ca: options.ca ?? getCACertificates?.('system'),
    cert: options.cert,
    key: options.key,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: !options.insecureSkipVerify,
  });
}

function connectionError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.syscall === 'getaddrinfo') return new LookupError(host, error.code ?? error.message);
  // For a name with several addresses, the error has those of all of them.
  const first: NodeJS.ErrnoException = error instanceof AggregateError ? error.errors[0] : error;
  if (first.errno === undefined) return error;
  const syscall = first.syscall ?? 'connect';
  return new SysError(syscall, -first.errno, `${syscall} ${formatEndpoint(host, port)}`);
}

/** The kind of failure by the code of OpenSSL or Node.js for a refused certificate. */
const failures: Readonly<Record<string, TlsFailure>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'name',
  CERT_HAS_EXPIRED: 'time',
  CERT_NOT_YET_VALID: 'time',
  UNABLE_TO_GET_ISSUER_CERT: 'untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'untrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'untrusted',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'untrusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'untrusted',
  CERT_SIGNATURE_FAILURE: 'untrusted',
  CERT_UNTRUSTED: 'untrusted',
  CERT_REJECTED: 'untrusted',
  INVALID_CA: 'untrusted',
};

function tlsError(
  error: NodeJS.ErrnoException,
  host: string,
  port: number,
  certificate: PeerCertificate | undefined,
): Error {
  const code = error.code ?? '';
  const what = `speak TLS with ${formatEndpoint(host, port)}`;
  const failure = failures[code];
  if (failure) return new TlsError(failure, `${what}: ${describe(code, certificate)}`);
  if (error.errno !== undefined && error.syscall) return connectionError(error, host, port);
  // The server closed the connection during the handshake, or OpenSSL has another reason.
  return new TlsError('handshake', `${what}: ${opensslReason(error)}`);
}

function describe(code: string, certificate: PeerCertificate | undefined): string {
  switch (code) {
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return `its certificate is not for this name but for ${certificate?.subjectaltname ?? 'none'}`;
    case 'CERT_HAS_EXPIRED':
      return `its certificate expired at ${certificate?.valid_to}`;
    case 'CERT_NOT_YET_VALID':
      return `its certificate is valid from ${certificate?.valid_from} on`;
    default:
      return `its certificate was not issued by a trusted authority: ${code}`;
  }
}

/** OpenSSL's message has the place in its source, too; `reason` is only the reason. */
function opensslReason(error: NodeJS.ErrnoException & { reason?: string }): string {
  return error.reason ?? error.message;
}

function text(error: unknown): string {
  return error instanceof Error ? opensslReason(error) : String(error);
}
