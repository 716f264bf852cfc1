import type { Platform } from '@heddle/sys';
import { AF_UNSPEC } from '@heddle/sys/net';
import { type LinkAddress, RTM_DELADDR, RTM_NEWADDR, readLinkAddress } from './addresses.ts';
import { isNetlinkError, MalformedMessage, type NetlinkError } from './errors.ts';
import { type NetworkLink, RTM_DELLINK, RTM_NEWLINK, readLink } from './links.ts';
import { type Neighbour, RTM_DELNEIGH, RTM_NEWNEIGH, readNeighbour } from './neighbours.ts';
import { type Route, RTM_DELROUTE, RTM_NEWROUTE, readRoute } from './routes.ts';
import { NetlinkSocket } from './socket.ts';
import type { Message } from './wire.ts';

/** Multicast groups of rtnetlink (RTMGRP_* of linux/rtnetlink.h), as bits. */
const groupBits = {
  links: 0x1,
  neighbours: 0x4,
  /** IPv4 and IPv6. */
  addresses: 0x10 | 0x100,
  routes: 0x40 | 0x400,
} as const;

/** A kind of objects that can be watched. */
export type NetworkGroup = keyof typeof groupBits;

/** A change in a network namespace. `isRemoved` is false for new and for changed objects. */
export type NetworkEvent =
  | { readonly kind: 'link'; readonly isRemoved: boolean; readonly link: NetworkLink }
  | { readonly kind: 'address'; readonly isRemoved: boolean; readonly address: LinkAddress }
  | { readonly kind: 'route'; readonly isRemoved: boolean; readonly route: Route }
  | { readonly kind: 'neighbour'; readonly isRemoved: boolean; readonly neighbour: Neighbour }
  | {
      /** Events were lost: only a listing made after this event shows the present state. */
      readonly kind: 'lost';
      /** NetlinkError with ENOBUFS when the receive buffer has overrun, or MalformedMessage. */
      readonly cause: NetlinkError | MalformedMessage;
    };

/**
 * Bytes of events that may wait: some hundred links that appear at once send more than a socket's
 * usual buffer holds. Only events that wait take memory.
 */
const usualBuffer = 8 * 1024 * 1024;

/** Datagrams that are read in a row, so that a flood of events leaves time for other work. */
const datagramsPerTurn = 64;

/**
 * Calls `onEvent` for each change of the given groups in the network namespace of the calling
 * thread, until it is disposed of. A listing made after this call misses no later change. The
 * kernel sends no event for IPv4 routes that it removes because their link goes down or loses its
 * last address, so list the routes again after such events. Events beyond `bufferBytes` that wait are
 * lost, which is an event, too. Throws SysError and NetlinkError.
 */
export function watchNetwork(
  platform: Platform,
  groups: readonly NetworkGroup[],
  onEvent: (event: NetworkEvent) => void,
  bufferBytes = usualBuffer,
): Disposable {
  const socket = new NetlinkSocket(platform);
  try {
    socket.subscribe(
      groups.reduce((bits, group) => bits | groupBits[group], 0),
      bufferBytes,
    );
    const watch = platform.onReadable(socket.fd, () => receiveEvents(socket, onEvent));
    return {
      [Symbol.dispose]() {
        watch[Symbol.dispose]();
        socket[Symbol.dispose]();
      },
    };
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

function receiveEvents(socket: NetlinkSocket, onEvent: (event: NetworkEvent) => void): void {
  for (let i = 0; i < datagramsPerTurn && !socket.isClosed; i++) {
    let events: NetworkEvent[];
    try {
      const messages = socket.receiveNotification();
      if (!messages) return;
      events = messages.flatMap((message) => readNetworkEvent(message) ?? []);
    } catch (cause) {
      if (!isLoss(cause)) throw cause;
      drain(socket);
      onEvent({ kind: 'lost', cause });
      return;
    }
    for (const event of events) if (!socket.isClosed) onEvent(event);
  }
}

/**
 * Discards the queued events. After an overrun the kernel drops all events until the queue is
 * empty, and reports only the first loss: a listing made before that would miss changes.
 */
function drain(socket: NetlinkSocket): void {
  for (;;) {
    try {
      if (!socket.receiveNotification()) return;
    } catch (error) {
      if (!isLoss(error)) throw error;
    }
  }
}

function isLoss(error: unknown): error is NetlinkError | MalformedMessage {
  return error instanceof MalformedMessage || isNetlinkError(error, 'ENOBUFS');
}

/** Reads a notification; returns undefined for other kinds of objects. Throws MalformedMessage. */
export function readNetworkEvent(message: Message): NetworkEvent | undefined {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      // Messages of other families are about a part of a link, e.g. its role as a bridge port.
      if (message.body[0] !== AF_UNSPEC) return undefined;
      return { kind: 'link', isRemoved: message.type === RTM_DELLINK, link: readLink(message) };
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const address = readLinkAddress(message);
      return address && { kind: 'address', isRemoved: message.type === RTM_DELADDR, address };
    }
    case RTM_NEWROUTE:
    case RTM_DELROUTE: {
      const route = readRoute(message);
      return route && { kind: 'route', isRemoved: message.type === RTM_DELROUTE, route };
    }
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      const neighbour = readNeighbour(message);
      return (
        neighbour && { kind: 'neighbour', isRemoved: message.type === RTM_DELNEIGH, neighbour }
      );
    }
    default:
      return undefined;
  }
}
