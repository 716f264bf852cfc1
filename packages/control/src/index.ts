export { ControlClient } from './client.ts';
export type { ControlSource } from './source.ts';
