import type { FeaturesStatus } from './features/index.ts';
import type { CoreStatus } from './status.ts';

/** The answer to `status`: the fields of the agent and of each feature. */
export type AgentStatus = CoreStatus & FeaturesStatus;
