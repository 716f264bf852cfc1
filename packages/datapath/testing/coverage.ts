import { mkdirSync, writeFileSync } from 'node:fs';
import { LineCoverage, type VmBpf } from '@heddle/vm';

// Set by tools/coverage-bpf.ts: where the tests leave which lines of bpf/ the machine ran.
const folder = process.env.HEDDLE_BPF_COVERAGE;
const coverage = new LineCoverage();

if (folder !== undefined) {
  process.on('exit', () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/${process.pid}.json`, JSON.stringify(coverage.lines()));
  });
}

/** Has a machine's runs counted, if that is wanted. */
export function covered(bpf: VmBpf): VmBpf {
  if (folder !== undefined) bpf.machine.observer = coverage.observe;
  return bpf;
}
