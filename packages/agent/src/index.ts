export * from './config.ts';
export * from './control/protocol.ts';
