export { type ClusterSourceOptions, openClusterSource } from './cluster-source.ts';
export { type FolderSourceOptions, openFolderSource } from './folder-source.ts';
export { isManifestName } from './manifest-name.ts';
export { ManifestSet } from './manifest-set.ts';
export type * from './source.ts';
export type { Demand, Watch } from './watches.ts';
