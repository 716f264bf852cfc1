// Which lines of bpf/ the tests run in the userspace machine: `npm run coverage:bpf`. Prints file by
// file and what is not covered, and writes coverage/bpf.lcov. As root the packet tests count, too:
// they run each packet in the kernel and in the machine.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { preflight } from '@heddle/cli/preflight';
import { readObject } from '@heddle/ebpf';
import { projectFiles, root } from './files.ts';

interface LineCount {
  readonly file: string;
  readonly line: number;
  readonly count: number;
}

/** Part of the lines that must be covered; what isn't is listed. */
const wanted = 0.95;

const missing = preflight();
const kinds = missing ? /\.node\.test\.ts$/ : /\.(node|kernel)\.test\.ts$/;
if (missing) console.error(`without the packet tests, because: ${missing.message}`);
/** Tests that run programs in the machine, directly or by what they import. */
const files = projectFiles('.test.ts').filter(
  (file) =>
    file.startsWith('packages/datapath/') &&
    kinds.test(file) &&
    /vm-world|mirror/i.test(readFileSync(root + file, 'utf8')),
);

const folder = mkdtempSync(join(tmpdir(), 'heddle-coverage-'));
try {
  const { status } = spawnSync(
    process.execPath,
    ['--test', '--test-concurrency=2', '--test-reporter=dot', ...files],
    {
      cwd: root,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, HEDDLE_BPF_COVERAGE: folder },
    },
  );
  if (status !== 0) throw new Error('the tests failed: run them by npm test to see why');
  process.exitCode = report(collect(folder)) ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}

/** Count of each line that the objects have code for, by file and line. */
function collect(from: string): Map<string, Map<number, number>> {
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

/** Prints the table and writes the file. True when enough is covered. */
function report(found: ReadonlyMap<string, ReadonlyMap<number, number>>): boolean {
  const records: string[] = [];
  let [all, ran] = [0, 0];
  for (const [file, lines] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const sorted = [...lines].sort(([a], [b]) => a - b);
    const left = sorted.filter(([, count]) => count === 0).map(([line]) => line);
    all += sorted.length;
    ran += sorted.length - left.length;
    print(file, sorted.length, left.length);
    const source = readFileSync(root + file, 'utf8').split('\n');
    for (const line of left) console.log(`    ${line}: ${source[line - 1]!.trim()}`);
    records.push(
      `SF:${file}`,
      ...sorted.map(([line, count]) => `DA:${line},${count}`),
      `LF:${sorted.length}`,
      `LH:${sorted.length - left.length}`,
      'end_of_record',
    );
  }
  print('all', all, all - ran);
  mkdirSync(`${root}coverage`, { recursive: true });
  writeFileSync(`${root}coverage/bpf.lcov`, `${records.join('\n')}\n`);
  return ran >= wanted * all;
}

function print(name: string, lines: number, left: number): void {
  const share = `${(((lines - left) / lines) * 100).toFixed(1)} %`;
  console.log(
    `${name.padEnd(28)} ${`${lines - left} of ${lines}`.padStart(12)} lines ${share.padStart(8)}`,
  );
}
