export { type Dump, entriesOf, entryCount, mapNamed } from './dump/dump.ts';
export { pipeDump, readDump, writeDump } from './dump/file.ts';
export { type NodePlaces, nodeDump } from './dump/live.ts';
export type {
  Asked,
  IcmpErrorKind,
  TcpFlag,
  TraceProtocol,
} from './trace/asked.ts';
export { type Ends, errorAbout, type Moment, packetOf, turned } from './trace/packet.ts';
export type { HookTrace, Step, Trace, Verdict } from './trace/result.ts';
export { trace } from './trace/trace.ts';
