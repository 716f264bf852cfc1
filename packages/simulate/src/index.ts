export type { Disruption, Distribution } from './measures.ts';
export { counted } from './plan.ts';
export type { ReasonCount, SimulationReport, StepReport, TrafficReport } from './report.ts';
export { readScenario, type Scenario } from './scenario.ts';
export { simulate } from './simulation.ts';
