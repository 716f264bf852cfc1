import type { Datapath } from '@heddle/datapath';

/** The parts of a datapath that the agent uses: @heddle/datapath's, or a test's. Each feature takes only its own. */
export interface DatapathPart
  extends Disposable,
    Pick<Datapath, 'adopted' | 'status' | 'release' | 'setNode'> {
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
  readonly nat: Pick<
    Datapath['nat'],
    'setTunnelEnds' | 'setTracked' | 'flows' | 'endFlow' | 'status' | 'destinations'
  >;
  readonly drops: Pick<Datapath['drops'], 'counts' | 'refusals' | 'watch'>;
  readonly integrity: Pick<
    Datapath['integrity'],
    'checkAttachments' | 'mapCount' | 'auditNext' | 'repair'
  >;
}
