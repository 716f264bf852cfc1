import type { Datapath } from '@heddle/datapath';

/** The part of the datapath that paths to other nodes need. */
export interface NodeRoutesDatapath {
  readonly nodeRoutes: Pick<
    Datapath['nodeRoutes'],
    'set' | 'remove' | 'prune' | 'setTunnel' | 'setMasquerade'
  >;
}
