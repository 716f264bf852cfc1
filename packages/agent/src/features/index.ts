import type { FeatureDefinition } from '../feature.ts';
import { bandwidthFeature } from './bandwidth/bandwidth.ts';
import type { BandwidthDatapath } from './bandwidth/datapath.ts';
import type { FlowsDatapath } from './flows/datapath.ts';
import { flowsFeature } from './flows/flows.ts';
import { namesFeature } from './names/names.ts';
import type { NodeRoutesDatapath } from './node-routes/datapath.ts';
import { nodeRoutesFeature } from './node-routes/node-routes.ts';
import type { NodeRoutesStatus } from './node-routes/status.ts';
import { ownNodeFeature } from './own-node/own-node.ts';
import type { PodsDatapath } from './pods/datapath.ts';
import { podsFeature } from './pods/pods.ts';
import type { PodsStatus } from './pods/status.ts';
import type { PolicyDatapath } from './policy/datapath.ts';
import { policyFeature } from './policy/policy.ts';
import type { PolicyStatus } from './policy/status.ts';
import type { ServicesDatapath } from './services/datapath.ts';
import { servicesFeature } from './services/services.ts';
import type { ServicesStatus } from './services/status.ts';

/** The fields of `heddle status -o json` that features add. */
export type FeaturesStatus = ServicesStatus & NodeRoutesStatus & PodsStatus & PolicyStatus;

/** The datapath as all features need it. */
export type FeaturesDatapath = ServicesDatapath &
  FlowsDatapath &
  NodeRoutesDatapath &
  PodsDatapath &
  PolicyDatapath &
  BandwidthDatapath;

/** All features, in the order in which the agent runs them. A new feature is one entry. */
export const allFeatures: readonly FeatureDefinition<FeaturesDatapath>[] = [
  servicesFeature,
  flowsFeature,
  ownNodeFeature,
  nodeRoutesFeature,
  // Pods ask it for their policies.
  policyFeature,
  podsFeature,
  bandwidthFeature,
  namesFeature,
];
