import type { Datapath } from '@heddle/datapath';

/** The parts of the datapath that the flow table's feature needs. */
export interface FlowsDatapath {
  readonly dnsAnswers: Pick<Datapath['dnsAnswers'], 'watch'>;
  readonly nat: Pick<Datapath['nat'], 'flows' | 'endFlow' | 'status' | 'destinations'>;
}
