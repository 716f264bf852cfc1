import type { Datapath } from '@heddle/datapath';

/** The parts of the datapath that belong to the node and to no feature. */
export interface NodeDatapath
  extends Disposable,
    Pick<Datapath, 'adopted' | 'status' | 'release' | 'setNode'> {
  readonly nat: Pick<Datapath['nat'], 'setTracked'>;
  readonly drops: Pick<Datapath['drops'], 'counts' | 'watch'>;
  readonly integrity: Pick<
    Datapath['integrity'],
    'checkAttachments' | 'mapCount' | 'auditNext' | 'repair'
  >;
}
