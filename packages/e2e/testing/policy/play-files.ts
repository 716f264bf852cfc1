// Plays recorded cases of network policies, which are not part of this project, with real packets:
//
//   HEDDLE_POLICY_CASES=FOLDER node packages/e2e/testing/policy/play-files.ts [WORD...]
//
// The folder has netpol-truth-tables.json, netpol-e2e.json and cluster-netpol.json, or some of them. One lab of two nodes
// plays all cases over IPv4 and IPv6. Words: `tunnel`: the nodes are in two subnets; `plain`: without agents, this process
// programs the nodes; `netkit`: pods are connected by netkit, without agents; any other word is a part of the titles to play.
// The exit code is 1 if an outcome differs from the recorded one.
import { existsSync } from 'node:fs';
import { argv, env, exit, stdout } from 'node:process';
import { type AddressesOf, readClusterTests, readSpecs, readTruthTables } from './case-files.ts';
import type { CaseLab } from './case-lab.ts';
import { DirectPolicyLab } from './direct-lab.ts';
import { CasePlayer } from './player.ts';
import { type NodePath, PolicyLab } from './policy-lab.ts';

const readers = {
  'netpol-truth-tables.json': readTruthTables,
  'netpol-e2e.json': readSpecs,
  'cluster-netpol.json': readClusterTests,
};

const folder = env.HEDDLE_POLICY_CASES;
if (folder === undefined) {
  console.error('play cases: HEDDLE_POLICY_CASES is not set (the folder of the files)');
  exit(2);
}
const words = argv.slice(2);
const has = (word: string) => words.includes(word);
const path: NodePath = has('tunnel') ? 'tunnel' : 'direct';
const kind = has('netkit') ? 'netkit' : 'veth';
const way = `${kind}, ${path} between nodes${isPlain() ? ', without agents' : ''}`;
const part = words.find((word) => !['tunnel', 'plain', 'netkit'].includes(word)) ?? '';
const files = Object.entries(readers).filter(([name]) => existsSync(`${folder}/${name}`));
using lab = await openLab();
const addressesOf: AddressesOf = (pod) =>
  lab.podNames.includes(pod) ? lab.hostOf(pod).addresses : undefined;
let wrong = 0;
for (const [name, reader] of files) {
  const open = reader(`${folder}/${name}`);
  const { pods, ports } = open(() => undefined);
  using player = new CasePlayer(lab, ports);
  await player.connect(pods);
  const cases = open(addressesOf).cases.filter(({ title }) => title.includes(part));
  const started = performance.now();
  const played = await player.play(cases, () => stdout.write('.'));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  stdout.write('\n');
  if (played.report !== '') console.log(played.report);
  const failed = new Set(played.mismatches.map((each) => each.case)).size;
  console.log(
    `${name} (${way}): ${played.cases} cases, ${played.steps} steps in ${seconds} s; ${failed} cases with ${played.mismatches.length} wrong outcomes`,
  );
  for (const [what, count] of [...played.counts].sort()) console.log(`  ${what}: ${count}`);
  wrong += failed;
}
// The agents end with the lab.
lab[Symbol.dispose]();
exit(wrong > 0 ? 1 : 0);

function isPlain(): boolean {
  return has('plain') || has('netkit');
}

async function openLab(): Promise<CaseLab> {
  if (isPlain()) return new DirectPolicyLab('policy-files', path, kind);
  const made = new PolicyLab('policy-files', path);
  await made.start(...(env.HEDDLE_AGENT_ARGS?.split(' ') ?? []));
  return made;
}
