import type { Datapath } from '@heddle/datapath';

/** The part of the datapath that limits pods. */
export interface BandwidthDatapath {
  readonly bandwidth: Pick<Datapath['bandwidth'], 'set' | 'remove' | 'prune' | 'setPaced'>;
}
