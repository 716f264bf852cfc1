export { observedFlows } from './client.ts';
export { flowMatch } from './filters/filters.ts';
export { identityOf, reservedIdentity } from './flows/identity.ts';
export { flowMessage, responseJson } from './flows/message.ts';
export {
  type Decision,
  type DnsRecord,
  eventType,
  type FlowRecord,
  ipProtocol,
  type Names,
  type Party,
  party,
  tcpFlag,
} from './flows/record.ts';
export { FlowRing, type Loss } from './flows/ring.ts';
export type { FlowSource } from './flows/source.ts';
export { millisecondsOf, timestampOf } from './flows/time.ts';
export { MetricsError } from './metrics/context.ts';
export { FlowMetrics } from './metrics/metrics.ts';
export { type AskNearest, denialService } from './observer/denials.ts';
export { FlowObserver, type ObserverOptions } from './observer/observer.ts';
export { PeerList, type PeerNode } from './observer/peers.ts';
export { type FlowQuery, flowQuery, readFlows } from './observer/read-flows.ts';
export { type ObserverSettings, RunningObserver } from './observer/run.ts';
export { ProblemLog } from './problem-log.ts';
export { HealthState, observerHealthName } from './server/health.ts';
export { serveMetrics } from './server/metrics-server.ts';
export { type Place, parsePlace } from './server/place.ts';
export { type Listen, listenText, RpcServer } from './server/server.ts';
export { readTlsFiles, type TlsFiles, watchTlsFiles } from './server/tls-files.ts';
export { pause, Waiting } from './waiting.ts';
