import type { ServiceRow } from '@heddle/model';
import type { Operations } from '@heddle/state';
import type { AgentStatus } from './status.ts';

/** Connections to one backend of a row. */
export interface BackendCounter {
  readonly address: string;
  /** Host order. */
  readonly port: number;
  /** How often it was chosen. */
  readonly connections: number;
  /** Connections that are open now. */
  readonly active: number;
}

/** What the agent needs of a datapath: @heddle/datapath's, or a test's. */
export interface DatapathPart extends Operations<ServiceRow>, Disposable {
  status(): AgentStatus['datapath'];
  backendCounters(rowKey: string): readonly BackendCounter[];
  refusals(): AgentStatus['refusals'];
}
