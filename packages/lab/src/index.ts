export { cgroupRoot, inCgroup, ownCgroup, processesIn } from './cgroup.ts';
export {
  createLab,
  Lab,
  type LabOptions,
  type LabSummary,
  listLabs,
  openLab,
} from './lab.ts';
export { LabNode, LabPod, Place } from './place.ts';
export { removeLab, removeStaleLabs } from './removal.ts';
export type { Addresses } from './topology.ts';
