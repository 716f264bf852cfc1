import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Client, createClient, type Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { Place } from '@heddle/hubble';
import { Observer, Peer } from '@heddle/hubble/messages';

/** The paths of the files with which a relay connects to observers by TLS, in PEM. */
export interface PeerTlsFiles {
  /** The authorities of the observers' certificates; those of the system if it is undefined. */
  readonly authority?: string | undefined;
  /** The relay's own certificate and its key. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

/** An address that is connected to, and the name in its certificate if it has TLS. */
export interface Target {
  readonly place: Place;
  readonly tlsServerName?: string | undefined;
}

/** Clients of one observer, over one connection. */
export interface ObserverClients {
  readonly transport: Transport;
  readonly observer: Client<typeof Observer>;
  readonly peer: Client<typeof Peer>;
  /** Ends the connection and all calls. */
  close(): void;
}

/** A flow with its names takes one or two KiB; a peer that sends more than this in one message is cut off. */
const messageBytesMax = 256 * 1024;

/**
 * Prepares a connection; the first call opens it. The files of TLS are read now, so that a later connection
 * has the certificates of its time. Throws an Error that names the file that cannot be read.
 */
export function openClients(target: Target, files: PeerTlsFiles | undefined): ObserverClients {
  const material = target.tlsServerName === undefined ? undefined : readMaterial(files);
  const baseUrl = material ? 'https://localhost' : 'http://localhost';
  const sockets = new Set<Socket>();
  // Pings of the session manager are not used: in version 2.2.0 they end the process if a connection closes
  // while it is idle. A dead connection is found out by the questions about the observer's state.
  const sessionManager = new Http2SessionManager(baseUrl, undefined, {
    createConnection: () => {
      const socket = openSocket(target, material);
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      return socket;
    },
  });
  const transport = createGrpcTransport({
    ...{ baseUrl, sessionManager, readMaxBytes: messageBytesMax },
  });
  return {
    transport,
    observer: createClient(Observer, transport),
    peer: createClient(Peer, transport),
    close: () => {
      sessionManager.abort();
      for (const socket of sockets) socket.destroy();
    },
  };
}

interface TlsMaterial {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

function openSocket({ place, tlsServerName }: Target, material: TlsMaterial | undefined): Socket {
  const options = 'unix' in place ? { path: place.unix } : place;
  const socket = material
    ? connectTls({
        ...{ ...options, ...material, servername: tlsServerName! },
        ...{ ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' },
      })
    : connectTcp(options);
  socket.setNoDelay(true);
  return socket;
}

function readMaterial(files: PeerTlsFiles = {}): TlsMaterial {
  const { authority, certificate, key } = files;
  return {
    ...(authority === undefined ? {} : { ca: read('authority', authority) }),
    ...(certificate === undefined ? {} : { cert: read('certificate', certificate) }),
    ...(key === undefined ? {} : { key: read('key', key) }),
  };
}

function read(what: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`read TLS ${what} of peers ${path}: ${why}`, { cause });
  }
}
