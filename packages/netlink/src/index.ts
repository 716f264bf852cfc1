export { AF_INET, AF_INET6 } from '@heddle/sys/net';
export {
  type AddressOptions,
  addAddress,
  type LinkAddress,
  listAddresses,
  removeAddress,
  type Scope,
} from './addresses.ts';
export { isNetlinkError, MalformedMessage, NetlinkError } from './errors.ts';
export type { Family } from './inet.ts';
export {
  changeLink,
  createBridge,
  createNetkit,
  createVeth,
  deleteLink,
  findLink,
  IFF_LOOPBACK,
  IFF_NOARP,
  IFF_RUNNING,
  IFF_UP,
  type LinkPair,
  type LinkSettings,
  listLinks,
  type NetworkLink,
  type NewLink,
  type SegmentSizes,
} from './links.ts';
export { deleteNamespace, NetworkNamespace, netnsCookie } from './namespace.ts';
export { namespaceId } from './namespace-id.ts';
export {
  addNeighbour,
  addProxyNeighbour,
  listNeighbours,
  listProxyNeighbours,
  type Neighbour,
  type NewNeighbour,
  removeNeighbour,
  removeProxyNeighbour,
  replaceNeighbour,
} from './neighbours.ts';
export {
  listChainRules,
  listChains,
  NETLINK_NETFILTER,
  type NetfilterChain,
  type NetfilterExpression,
} from './netfilter.ts';
export {
  addQdisc,
  type FilterBlocks,
  listQdiscs,
  type NewQdisc,
  type Qdisc,
  removeQdisc,
  TC_H_INGRESS,
  TC_H_ROOT,
} from './qdiscs.ts';
export type { RouteEncap } from './route-encap.ts';
export {
  addRoute,
  listRoutes,
  localTable,
  mainTable,
  type NextHop,
  type Route,
  type RouteType,
  removeRoute,
  replaceRoute,
  type WeightedNextHop,
} from './routes.ts';
export {
  addRoutingRule,
  listRoutingRules,
  type RoutingRule,
  type RuleAction,
  removeRoutingRule,
} from './routing-rules.ts';
export { NETLINK_ROUTE, NETLINK_SOCK_DIAG, NetlinkSocket } from './socket.ts';
export {
  destroySocket,
  type InetSocket,
  listSockets,
  type SocketFilter,
  type SocketState,
} from './socket-diag.ts';
export { Sysctls } from './sysctls.ts';
export {
  attachFilter,
  type FilterList,
  type FilterPlace,
  filterProgram,
  hasFilter,
  linksOfBlocks,
  removeFilter,
  useBlocks,
} from './traffic-control.ts';
export { createVxlan } from './vxlan.ts';
export type { ExternalVxlan } from './vxlan-settings.ts';
export { type NetworkEvent, type NetworkGroup, watchNetwork } from './watch.ts';
export * from './wire.ts';
