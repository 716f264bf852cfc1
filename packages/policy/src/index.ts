export type {
  DenyResponse,
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
