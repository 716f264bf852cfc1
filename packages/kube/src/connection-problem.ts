import { errnoText, LookupError, SysError, TlsError } from '@heddle/sys';
import { ConnectionError } from './errors.ts';

/**
 * Returns the error of a connection to `name` (a URL) that could not be opened or broke, with a remedy.
 * `origin` is the origin of the certificates and addresses.
 */
export function connectionProblem(error: Error, name: string, origin: string): ConnectionError {
  return new ConnectionError(`reach ${name}: ${describe(error, origin)}`, { cause: error });
}

function describe(error: Error, origin: string): string {
  if (error instanceof SysError) return describeCode(error);
  if (error instanceof LookupError) {
    return `${error.message} (is the name right, and does a name server respond? an IP address needs none)`;
  }
  if (error instanceof TlsError) return `${error.message} (${tlsAdvice(error, origin)})`;
  return error.message;
}

function describeCode({ code, errno }: SysError): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'connection refused (does the server run there, on this port?)';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'the connection was reset (the server may be starting, or a middlebox resets it)';
    case 'ETIMEDOUT':
      return 'no answer (is the address right? does a firewall drop the packets?)';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `${errnoText(errno)}; check the routes of this node`;
    case 'EPERM':
    case 'EACCES':
      return `${errnoText(errno)}; check the packet filter of this node`;
    default:
      return errnoText(errno);
  }
}

function tlsAdvice({ failure }: TlsError, origin: string): string {
  switch (failure) {
    case 'untrusted':
      return `${origin}: does its certificate authority belong to this server?`;
    case 'name':
      return 'use one of these names, or set tls-server-name to it';
    case 'time':
      return "renew the server's certificate, or set the clock of this node";
    case 'material':
      return `${origin}: certificates and keys must be PEM, and belong together`;
    case 'handshake':
      return `${origin}: is a client certificate needed, or has it expired? is this a TLS port?`;
  }
}
