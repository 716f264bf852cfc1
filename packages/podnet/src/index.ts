export { bigTcpSize } from './big-tcp.ts';
export { changeMtu } from './mtu.ts';
export { prepareNamespace } from './namespace.ts';
export {
  createPodInterface,
  isNameTaken,
  PodLinkExists,
  removePodInterface,
} from './pod-interface.ts';
export { gateway, gatewayMac, type PodAddress, type PodInterface } from './pod-settings.ts';
