export { type CheckedPolicy, type CheckedRule, checkPolicy } from './check/check.ts';
export type { Finding, FindingCode, Severity } from './check/finding.ts';
export {
  ClusterObjects,
  type Frontend,
  shownAddress,
  type ToolRecord,
  toolKinds,
} from './cluster.ts';
export { diffFlows, diffPairs, type FlowChange, type FlowDiff, type PairChange } from './diff.ts';
export { type End, endsOf, fullName, type Target, ToolError, targetsOf } from './ends.ts';
export {
  type ExplainRequest,
  type Explanation,
  explain,
  explainFlow,
  type ShownDirection,
  type ShownRule,
} from './explain.ts';
export { type Flow, judgeFlow } from './flows.ts';
export { groupPods, type PodGroup, workloadLabels, workloadName } from './groups.ts';
export { type Matrix, type MatrixCell, type MatrixPort, matrixCsv, matrixOf } from './matrix.ts';
export { type NearestRule, nearestRule, type RuleSource, type RuleTest } from './nearest.ts';
export { type AllowedPorts, allowedPorts, allowedText } from './ports.ts';
export { type RawRemarks, rawRemarks } from './raw-remarks.ts';
export { type Suggestion, type SuggestRequest, suggestPolicies } from './suggest.ts';
export { nodeRanges, type TenantRequest, tenantPolicies, tenantValues } from './tenants.ts';
export {
  type AnyProtocol,
  counted,
  listed,
  placeText,
  questionPortText,
  ruleName,
  ruleText,
} from './texts.ts';
export { type YamlComment, yamlOf } from './yaml.ts';
