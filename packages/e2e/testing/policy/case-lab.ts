import type { LabHost } from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import type { ManifestObject } from '../node-network-lab.ts';
import type { PodSpec } from './policy-lab.ts';

/** A change of objects in one step. */
export interface ObjectsChange {
  readonly put?: readonly ManifestObject[];
  readonly remove?: readonly ManifestObject[];
}

/** A lab as CasePlayer sees it. */
export interface CaseLab extends Disposable {
  readonly platform: Platform;
  /** The names of all pods, `namespace/name`. */
  readonly podNames: readonly string[];
  /** Returns the host of a pod. Throws an Error when there is none. */
  hostOf(key: string): LabHost;
  specOf(key: string): PodSpec | undefined;
  /** Connects a pod, with the IPv4 address `address` if it is given. */
  connect(spec: PodSpec, address?: string): Promise<LabHost>;
  /** Disconnects a pod, and removes its object. */
  disconnect(key: string): Promise<void>;
  /** Returns the object of a pod with other labels, which the lab keeps. */
  relabelled(key: string, labels: PodSpec['labels']): ManifestObject;
  /** Changes objects in one step. */
  change(change: ObjectsChange): void;
  /** Changes objects in one step, and resolves when all nodes have programmed the change. */
  apply(change?: ObjectsChange): Promise<void>;
  /** Returns the number of packets that policies have dropped at all nodes. */
  drops(): number;
}
