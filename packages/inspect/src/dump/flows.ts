import { type FlowEntry, flowsOfElements } from '@heddle/datapath';
import { type Dump, elementsOf } from './dump.ts';

/** Returns the flows in the flow table of a dump. */
export function flowsOf(dump: Dump): FlowEntry[] {
  const [flows, sources] = [elementsOf(dump, 'nat_flows'), elementsOf(dump, 'nat_sources')];
  return flowsOfElements(flows, sources, dump.head.monotonicNs);
}
