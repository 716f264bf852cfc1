export { addressesOfOthers } from './addresses-of-others.ts';
export { bigTcpSize } from './big-tcp.ts';
export {
  answerOnBridges,
  leaveBridges,
  leaveBridgesWhere,
  listRangeBridges,
  type RangeBridge,
} from './bridges.ts';
export { checkPodInterfaces, type PodInterfaceState } from './check.ts';
export { congestionControl, setCongestionControl } from './congestion-control.ts';
export { changeMtu } from './mtu.ts';
export { prepareNamespace } from './namespace.ts';
export { type NodeRoute, NodeRoutes, routeProtocol } from './node-routes.ts';
export {
  createPodInterface,
  isNameTaken,
  PodLinkExists,
  removePodInterface,
} from './pod-interface.ts';
export { gateway, gatewayMac, type PodAddress, type PodInterface } from './pod-settings.ts';
export {
  ensureTunnelDevice,
  removeTunnelDevice,
  type TunnelDevice,
  tunnelId,
  tunnelName,
  tunnelOverhead,
} from './tunnel-device.ts';
