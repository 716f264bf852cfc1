import { exitCodes } from '@heddle/control/failure';
import { policyKey } from '@heddle/policy';
import {
  type CheckedPolicy,
  ClusterObjects,
  checkPolicy,
  counted,
  listed,
  type Severity,
} from '@heddle/policy-tools';
import { type OutputFormat, printJson, printLine, styled } from '../../print.ts';
import { type ClusterOptions, openCluster, printAssumptions } from './cluster.ts';
import { readManifests } from './manifests.ts';

interface Options extends ClusterOptions {
  /** The objects of the agent are used. */
  readonly live?: boolean;
  readonly strict?: boolean;
  readonly output: OutputFormat;
}

interface Located extends CheckedPolicy {
  readonly file: string;
  readonly line: number;
}

const styles = { error: 'red', warning: 'yellow', note: 'dim' } as const;

/** `heddle policy check`: what manifests of policies select, and what their authors should know. Exits with 1 for errors. */
export async function policyCheck(path: string, options: Options): Promise<void> {
  const { strict = false, live = false, objects, fromDump, output } = options;
  const own = readManifests(path, 'check');
  const isAlone = objects === undefined && fromDump === undefined && !live;
  const others = isAlone ? new ClusterObjects([]) : await openCluster(options);
  const cluster = others.with(own.changes);
  const policies = own.changes.flatMap((change): Located[] => {
    if (change.op !== 'set') return [];
    const { object } = change;
    if (object.kind !== 'networkPolicy' && object.kind !== 'clusterNetworkPolicy') return [];
    const checked = checkPolicy(cluster, object, own.remarks.get(policyKey(object)));
    return [{ ...checked, ...own.locate(object)! }];
  });
  const { problems } = own;
  const findings = policies.flatMap((policy) => policy.findings);
  const count = (severity: Severity) =>
    findings.filter((finding) => finding.severity === severity).length;
  const errors = problems.length + count('error');
  const warnings = own.otherPolicies.length + count('warning');
  const valid = errors === 0 && (!strict || warnings === 0);
  if (!valid) process.exitCode = exitCodes.failed;
  if (output === 'json') {
    const { assumedNamespaces } = cluster;
    const { otherPolicies } = own;
    printJson({ valid, errors, warnings, policies, problems, otherPolicies, assumedNamespaces });
    return;
  }
  const areKnown = cluster.world.pods.size > 0;
  for (const policy of policies) printPolicy(policy, areKnown);
  for (const { file, line, message } of problems) {
    printLine(`${styled('red', 'error')}    ${file}:${line}: ${message}`);
  }
  for (const { file, line, message } of own.otherPolicies) {
    printLine(`${styled('yellow', 'warning')}  ${file}:${line}: ${message}`);
  }
  printAssumptions(cluster);
  const counts = [counted(errors, 'error'), counted(warnings, 'warning')].join(', ');
  const verdict = valid ? styled('green', 'valid') : styled('red', 'not valid');
  printLine(`${verdict}: ${counted(policies.length, 'policy')}, ${counts} in ${path}`);
}

function printPolicy(policy: Located, arePodsKnown: boolean): void {
  const { pods, rules, directions, findings } = policy;
  const place = policy.tier === 'NetworkPolicy' ? '' : `, tier ${policy.tier} ${policy.priority}`;
  const mode = policy.isAudited ? ', audit mode' : '';
  printLine(
    `${styled('bold', policy.policy)}${place}${mode}  ${styled('dim', `${policy.file}:${policy.line}`)}`,
  );
  const none = arePodsKnown ? 'no pods' : 'unknown, because no pods are known';
  const selected = pods.length === 0 ? none : `${counted(pods.length, 'pod')}: ${listed(pods)}`;
  printLine(`  selects    ${selected}`);
  if (policy.tier === 'NetworkPolicy') {
    printLine(`  isolates   ${listed(directions) || 'nothing'}`);
  }
  for (const rule of rules) {
    const peers =
      rule.peerPods === undefined || !arePodsKnown ? '' : ` (${counted(rule.peerPods, 'pod')})`;
    const name = rule.name === '' ? '' : ` "${rule.name}"`;
    printLine(`  ${rule.rule.padEnd(10)}${name} ${rule.text}${peers}`);
  }
  for (const { severity, message } of findings) {
    printLine(`  ${styled(styles[severity], severity.padEnd(10))} ${message}`);
  }
  printLine();
}
