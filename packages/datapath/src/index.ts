export type { BackendCounters } from './backend-table.ts';
export {
  Datapath,
  type DatapathOptions,
  type DatapathSizes,
  type DatapathStatus,
  openDatapath,
  pinRoot,
} from './datapath.ts';
export { maglevSize, maglevTable } from './maglev.ts';
export { MapFull } from './store.ts';
