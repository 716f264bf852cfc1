// Measures the lines of bpf/ that the tests run in the userspace machine: `npm run coverage:bpf`.
// Prints a table of files and the uncovered lines, and writes coverage/bpf.lcov and
// coverage/bpf.html. As root it includes the packet tests, which run each packet in the kernel and
// in the machine. Each uncovered line must then have a reason in coverage/uncovered.json, and each
// reason a line.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { preflight } from '@heddle/control/preflight';
import { readObject } from '@heddle/ebpf';
import { coveragePage, summaryOf } from './coverage/html.ts';
import { judge, type Lines, type Reason, type Uncovered } from './coverage/lines.ts';
import { projectFiles, root } from './files.ts';

interface LineCount {
  readonly file: string;
  readonly line: number;
  readonly count: number;
}

/** The share of lines that must be covered; uncovered lines are listed. */
const wanted = 0.95;
const reasonsFile = 'tools/coverage/uncovered.json';
const reasons = JSON.parse(readFileSync(root + reasonsFile, 'utf8')) as Reason[];

const missing = preflight();
const kinds = missing ? /\.node\.test\.ts$/ : /\.(node|kernel)\.test\.ts$/;
if (missing) console.error(`without the packet tests, because: ${missing.message}`);
/** The tests that run programs in the machine, directly or through imports. */
const files = projectFiles('.test.ts').filter(
  (file) =>
    file.startsWith('packages/datapath/') &&
    kinds.test(file) &&
    /vm-world|mirror/i.test(readFileSync(root + file, 'utf8')),
);

const folder = mkdtempSync(join(tmpdir(), 'heddle-coverage-'));
try {
  const { status, stdout } = spawnSync(
    process.execPath,
    ['--test', '--test-concurrency=2', '--test-reporter=dot', ...files],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, HEDDLE_BPF_COVERAGE: folder },
    },
  );
  if (status === 0) {
    process.exitCode = report(collect(folder)) ? 0 : 1;
  } else {
    console.error(`${stdout}\ncoverage: tests failed`);
    process.exitCode = 1;
  }
} finally {
  rmSync(folder, { recursive: true });
}

/** Returns the count of each line that the objects have code for, by file and line. */
function collect(from: string): Lines {
  const found = new Map<string, Map<number, number>>();
  const linesOf = (file: string) => {
    const name = file.replace(/^\.\//, '');
    const lines = found.get(name) ?? new Map<number, number>();
    found.set(name, lines);
    return lines;
  };
  const objects = `${root}packages/datapath/objects/`;
  for (const name of readdirSync(objects).filter((each) => each.endsWith('.o'))) {
    const { programs } = readObject(new Uint8Array(readFileSync(objects + name)));
    for (const { lines } of programs.values()) {
      for (const { file, line } of lines) if (line > 0) linesOf(file).set(line, 0);
    }
  }
  for (const name of readdirSync(from)) {
    for (const { file, line, count } of JSON.parse(
      readFileSync(join(from, name), 'utf8'),
    ) as LineCount[]) {
      const lines = linesOf(file);
      lines.set(line, (lines.get(line) ?? 0) + count);
    }
  }
  return found;
}

/**
 * Prints the table and writes the files. Returns true if enough lines are covered and all others
 * have reasons.
 */
function report(found: Lines): boolean {
  const sources = new Map(
    [...found.keys()].map((file) => [file, readFileSync(root + file, 'utf8').split('\n')]),
  );
  const { uncovered, stale } = judge(found, sources, reasons);
  for (const [file, lines] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    print(file, [...lines.values()]);
    for (const each of uncovered) if (each.file === file) printLine(each);
  }
  const counts = [...found.values()].flatMap((lines) => [...lines.values()]);
  print('all', counts);
  mkdirSync(`${root}coverage`, { recursive: true });
  writeFileSync(`${root}coverage/bpf.lcov`, lcov(found));
  const when = `${new Date().toISOString().slice(0, 10)}${missing ? ', without the packet tests' : ''}`;
  writeFileSync(`${root}coverage/bpf.html`, coveragePage(found, sources, uncovered, when));
  console.log('wrote coverage/bpf.html and coverage/bpf.lcov');
  // Without the packet tests more lines are uncovered.
  if (missing) return true;
  const unexplained = uncovered.filter(({ reason }) => reason === undefined);
  if (unexplained.length > 0) {
    console.error(
      `\n${unexplained.length} lines have no reason in ${reasonsFile}; as it wants them:`,
    );
    for (const { file, function: name, line } of unexplained) {
      console.error(`  ${JSON.stringify({ file, function: name, line, reason: '...' })}`);
    }
  }
  if (stale.length > 0) {
    console.error(
      `\n${stale.length} reasons in ${reasonsFile} are of lines that are covered, or gone:`,
    );
    for (const { file, function: name, line } of stale)
      console.error(`  ${file}, ${name}: ${line}`);
  }
  const { share, text } = summaryOf(counts);
  if (share < wanted)
    console.error(`\ntoo little is covered: ${text}; ${wanted * 100} % are wanted`);
  return share >= wanted && unexplained.length === 0 && stale.length === 0;
}

function lcov(found: Lines): string {
  const records: string[] = [];
  for (const [file, lines] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const sorted = [...lines].sort(([a], [b]) => a - b);
    records.push(
      `SF:${file}`,
      ...sorted.map(([line, count]) => `DA:${line},${count}`),
      `LF:${sorted.length}`,
      `LH:${sorted.filter(([, count]) => count > 0).length}`,
      'end_of_record',
    );
  }
  return `${records.join('\n')}\n`;
}

function print(name: string, counts: readonly number[]): void {
  const ran = counts.filter((count) => count > 0).length;
  const share = `${((ran / counts.length) * 100).toFixed(1)} %`;
  console.log(
    `${name.padEnd(28)} ${`${ran} of ${counts.length}`.padStart(12)} lines ${share.padStart(8)}`,
  );
}

function printLine({ number, line, reason }: Uncovered): void {
  console.log(`    ${number}: ${line}${reason === undefined ? '' : `\n      ${reason}`}`);
}
