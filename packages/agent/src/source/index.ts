export {
  type FolderSourceOptions,
  isManifestName,
  openFolderSource,
  type SourceBatch,
} from './folder-source.ts';
export type { SourceProblem } from './manifest-set.ts';
export { type ManifestReport, validateManifests } from './validate.ts';
