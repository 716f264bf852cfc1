// The way of flows from the conntrack table into the ring, for measurements.
export { AgentNames } from './agent-names.ts';
export { passRecords } from './records.ts';
export { ConnectionSweep } from './sweep.ts';
