// Plays recorded cases of network policies, which are not part of this project, with real packets:
//
//   HEDDLE_POLICY_CASES=FOLDER node packages/e2e/testing/policy/play-files.ts [direct|tunnel] [PART OF A TITLE]
//
// The folder has netpol-truth-tables.json, netpol-e2e.json and cluster-netpol.json, or some of them. One lab of two nodes
// plays all cases over IPv4 and IPv6. The exit code is 1 if an outcome differs from the recorded one.
import { existsSync } from 'node:fs';
import { argv, env, exit, stdout } from 'node:process';
import { type AddressesOf, readClusterTests, readSpecs, readTruthTables } from './case-files.ts';
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
const [, , path = 'direct', part = ''] = argv;
const files = Object.entries(readers).filter(([name]) => existsSync(`${folder}/${name}`));
using lab = new PolicyLab('policy-files', path as NodePath);
await lab.start(...(env.HEDDLE_AGENT_ARGS?.split(' ') ?? []));
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
    `${name} (${path}): ${played.cases} cases, ${played.steps} steps in ${seconds} s; ${failed} cases with ${played.mismatches.length} wrong outcomes`,
  );
  for (const [what, count] of [...played.counts].sort()) console.log(`  ${what}: ${count}`);
  wrong += failed;
}
// The agents end with the lab, and not before it is removed.
lab[Symbol.dispose]();
exit(wrong > 0 ? 1 : 0);
