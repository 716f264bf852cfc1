import type { Datapath } from '@heddle/datapath';

export type { ProgrammedPod } from '@heddle/datapath';

/** The part of the datapath that pods need. */
export interface PodsDatapath {
  readonly pods: Pick<
    Datapath['pods'],
    'set' | 'remove' | 'prune' | 'hasRoom' | 'problems' | 'supports'
  >;
}
