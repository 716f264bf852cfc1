import type { Datapath } from '@heddle/datapath';

/** The parts of the datapath that services need. */
export interface ServicesDatapath {
  readonly services: Pick<
    Datapath['services'],
    | 'update'
    | 'remove'
    | 'prune'
    | 'dropFrontends'
    | 'backendCounters'
    | 'rowRefusals'
    | 'refusalCounts'
  >;
  readonly nat: Pick<Datapath['nat'], 'setTunnelEnds'>;
  readonly drops: Pick<Datapath['drops'], 'refusals'>;
}
