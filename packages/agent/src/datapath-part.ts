import type { Datapath } from '@heddle/datapath';
import type { ServiceRow } from '@heddle/services';
import type { Operations } from '@heddle/state';

/** What the agent needs of a datapath: @heddle/datapath's, or a test's. */
export type DatapathPart = Operations<ServiceRow> &
  Disposable &
  Pick<
    Datapath,
    | 'adopted'
    | 'status'
    | 'backendCounters'
    | 'rowRefusals'
    | 'serviceRefusalCounts'
    | 'refusals'
    | 'setNode'
    | 'dropFrontends'
    | 'setTunnelEnds'
    | 'setTracked'
    | 'checkAttachments'
    | 'audits'
    | 'auditNext'
    | 'repair'
    | 'release'
    | 'flows'
    | 'endFlow'
    | 'natStatus'
    | 'natDestinations'
    | 'drops'
    | 'watchDrops'
  >;
