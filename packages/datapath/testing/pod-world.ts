import type { LabPod } from '@heddle/lab';
import { dropReasonText } from '../src/core/drop-reasons.ts';
import type { DatapathOptions } from '../src/datapath-options.ts';
import { dropReason } from '../src/generated/abi.ts';
import type { ProgrammedPod } from '../src/pods/pod-tables.ts';
import { programmedPod } from './cluster.ts';
import { World } from './world.ts';

export const network = { tunnelPort: 8472 };

/** A node of the lab whose pods have Heddle as their network. */
export class PodWorld extends World {
  constructor(
    name: string,
    pods: number,
    options: ConstructorParameters<typeof World>[2] & Partial<DatapathOptions> = {},
  ) {
    super(name, pods, { network, ...options });
    this.servePods();
  }

  /** Programs all pods of the node, as an agent does at its start. */
  servePods(): void {
    for (const pod of this.node.pods) this.node.enter(() => this.datapath.pods.set(this.of(pod)));
  }

  /** Returns the pod as it is programmed. */
  of(pod: LabPod): ProgrammedPod {
    return programmedPod(pod);
  }

  /** The number of packets that were dropped for a reason. */
  drops(reason: keyof typeof dropReason): number {
    const text = dropReasonText(dropReason[reason]);
    return this.datapath.drops.counts().find((each) => each.reason === text)!.count;
  }
}
