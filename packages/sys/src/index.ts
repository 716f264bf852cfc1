export { allOrNothing, Disposal } from './disposal.ts';
export { errno, errnoNames, errnoText } from './errno.ts';
export {
  checked,
  LookupError,
  NotSupported,
  type Remedies,
  SysError,
  type SysErrorOptions,
  TlsError,
  type TlsFailure,
} from './errors.ts';
export * from './files.ts';
export * from './ip.ts';
export type {
  ByteStream,
  ByteStreamOptions,
  LogFields,
  LogLevel,
  Platform,
  RunOptions,
  RunResult,
  SyscallArgument,
  TlsOptions,
} from './platform.ts';
export { type SyscallName, syscallNumbers } from './syscalls.ts';
export { decodeCString, decodeUtf8, encodeCString, encodeUtf8 } from './utf8.ts';
