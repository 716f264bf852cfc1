export { encodeResponse, type HttpResponse, RequestReader, textResponse } from './http.ts';
export {
  type HttpHandler,
  HttpServer,
  type HttpServerOptions,
  type HttpServerStatus,
} from './http-server.ts';
export { LineReader } from './line-reader.ts';
export {
  type Client,
  defaultLimits,
  type ServerLimits,
  type Session,
  type StreamProtocol,
} from './stream-protocol.ts';
export { StreamServer } from './stream-server.ts';
