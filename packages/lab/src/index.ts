export { cgroupRoot, inCgroup, ownCgroup, processesIn } from './cgroup.ts';
export { CniPlugin, type CniPluginOptions, type PodName, type PodPlugin } from './cni-plugin.ts';
export {
  createLab,
  Lab,
  type LabOptions,
  openLab,
} from './lab.ts';
export { LabHost, LabNode, LabPod, type PodConnection } from './lab-host.ts';
export { type LabSummary, listLabs } from './lab-list.ts';
export { type Offloads, setOffloads } from './offloads.ts';
export { assertPacket } from './packet/assert-packet.ts';
export { crc32c, folded, internetChecksum } from './packet/checksum.ts';
export type * from './packet/layers.ts';
export { eth, ipv4, ipv6, Packet, pattern } from './packet/packet.ts';
export { type Captured, describeCaptured, Tap } from './packet/tap.ts';
export { removeLab, removeStaleLabs } from './removal.ts';
export type { Addresses } from './topology.ts';
export {
  BlockingSocket,
  type BlockingSocketOptions,
} from './traffic/blocking-socket.ts';
export {
  askHttp,
  askTcp,
  askUdp,
  connectTcp,
  connectUdp,
  echoBytes,
} from './traffic/conversation.ts';
export { Histogram } from './traffic/histogram.ts';
export { type PingOptions, type PingResult, ping } from './traffic/ping.ts';
export {
  type BackendPorts,
  type FloodOptions,
  floodWithSyns,
  type HttpClient,
  type HttpClientOptions,
  startBackend,
  startHttpClient,
} from './traffic/programs.ts';
export { type ClientReport, Tally, type TargetReport } from './traffic/report.ts';
