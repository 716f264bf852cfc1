export { FilterError } from './filters/errors.ts';
export { type FlowMatch, flowMatch } from './filters/filters.ts';
export { HealthState, observerHealthName } from './server/health.ts';
export { type Listen, listenText, RpcServer, type ServerOptions } from './server/server.ts';
export type { TlsFiles } from './server/tls-files.ts';
