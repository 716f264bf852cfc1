export { coversName, rulesOfNames, widerPatterns } from './domain-names.ts';
export {
  type DirectionJudgement,
  type Judgement,
  judge,
  judgeDirection,
  type NearMiss,
  nearMisses,
  type Question,
  type Reason,
  type RuleRef,
  type Verdict,
} from './judge.ts';
export {
  comparePolicies,
  isInBlock,
  type PolicyRecord,
  policyKey,
  priorityOf,
  tierOf,
} from './policies.ts';
export { PolicyModel } from './policy-model.ts';
export { PolicyWorld } from './policy-world.ts';
export type {
  Direction,
  PeerChanges,
  PodDemand,
  PodSubjects,
  PolicyRow,
  PolicyRule,
  PolicyUpdate,
  PortRange,
  RuleAction,
  Subject,
  Tier,
} from './rows.ts';
export { matchesLabels } from './selectors.ts';
