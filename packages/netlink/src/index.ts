export { AF_INET, AF_INET6 } from '@heddle/sys/net';
export {
  type AddressOptions,
  addAddress,
  type LinkAddress,
  listAddresses,
  readLinkAddress,
  removeAddress,
  type Scope,
} from './addresses.ts';
export { MalformedMessage, NetlinkError } from './errors.ts';
export type { Family } from './inet.ts';
export {
  changeLink,
  createBridge,
  createNetkit,
  createVeth,
  deleteLink,
  findLink,
  IFF_LOOPBACK,
  IFF_RUNNING,
  IFF_UP,
  type Link,
  type LinkSettings,
  listLinks,
  type NewLink,
  readLink,
} from './links.ts';
export { deleteNamespace, NetworkNamespace, netnsCookie } from './namespace.ts';
export { namespaceId } from './namespace-id.ts';
export {
  addNeighbour,
  listNeighbours,
  type Neighbour,
  type NewNeighbour,
  readNeighbour,
  removeNeighbour,
  replaceNeighbour,
} from './neighbours.ts';
export {
  listChains,
  listRules,
  NETLINK_NETFILTER,
  type NetfilterChain,
  type NetfilterExpression,
} from './netfilter.ts';
export {
  addRoute,
  listRoutes,
  localTable,
  mainTable,
  type Route,
  type RouteType,
  readRoute,
  removeRoute,
  replaceRoute,
} from './routes.ts';
export { NETLINK_ROUTE, NETLINK_SOCK_DIAG, NetlinkSocket } from './socket.ts';
export {
  destroySocket,
  type InetSocket,
  listSockets,
  readInetSocket,
  type SocketFilter,
  type SocketState,
} from './socket-diag.ts';
export { attachFilter, type FilterPlace, hasFilter, removeFilter } from './traffic-control.ts';
export * from './wire.ts';
