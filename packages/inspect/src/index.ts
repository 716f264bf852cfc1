export { DumpedControl } from './dump/control.ts';
export { type Dump, entriesOf, entryCount, mapNamed } from './dump/dump.ts';
export { pipeDump, readDump, writeDump } from './dump/file.ts';
export { type NodePaths, nodeDump } from './dump/live.ts';
export { type FollowedTrace, traceBeyond } from './trace/beyond.ts';
export { type Ends, errorAbout, inverseOf, type PacketPosition, packetOf } from './trace/packet.ts';
export type {
  IcmpErrorKind,
  TcpFlag,
  TraceProtocol,
  TraceRequest,
} from './trace/request.ts';
export type { HookTrace, Step, Trace, Verdict } from './trace/result.ts';
export { trace } from './trace/trace.ts';
