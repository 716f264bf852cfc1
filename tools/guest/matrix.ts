// The matrix of kernels and test files.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { release } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from '../files.ts';
import { GuestError, runInGuest } from './guest.ts';

/** The tests of what depends on the kernel: loading, interfaces, programs at sockets and interfaces, tunnels. */
const defaultTests = [
  'packages/ebpf/src/loader.kernel.test.ts',
  'packages/ebpf/src/probes.kernel.test.ts',
  'packages/netlink/src/*.kernel.test.ts',
  'packages/podnet/src/*.kernel.test.ts',
  'packages/datapath/src/core/verified-instructions.kernel.test.ts',
  'packages/datapath/src/nat/north-south.kernel.test.ts',
  'packages/datapath/src/pods/*.kernel.test.ts',
  'packages/datapath/src/node-routes/*.kernel.test.ts',
  'packages/datapath/src/sockets/socket-tcp.kernel.test.ts',
  'packages/agent/src/features/pods/*.kernel.test.ts',
];

/** The results of one test file under one kernel. */
interface Result {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/**
 * Runs test files, or those of the default, under each kernel that is unpacked in a folder of its own below
 * `folder`, and under this machine's kernel, and prints a table. Returns 0, or 1 if a test fails. Throws
 * GuestError.
 */
export async function runMatrix(folder: string, given: readonly string[]): Promise<number> {
  const kernels = globSync('*/{boot,usr/lib/modules/*}/vmlinuz*', { cwd: folder })
    .map((path) => path.split('/')[0]!)
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  if (kernels.length === 0) throw new GuestError(`no folder of ${folder} has an unpacked kernel`);
  const patterns = given.length > 0 ? given : defaultTests;
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root }).sort());
  if (files.length === 0) throw new GuestError(`no test file matches ${patterns.join(', ')}`);
  const own = release().split('-')[0]!;
  const columns: [string, Map<string, Result | undefined>][] = [];
  for (const kernel of [own, ...kernels]) {
    const results = new Map<string, Result | undefined>();
    columns.push([kernel, results]);
    for (const file of files) {
      const command = ['node', '--test', '--test-reporter=tap', file];
      const lines: string[] = [];
      const onLine = (line: string) => lines.push(line);
      if (kernel === own) await runHere(command, onLine);
      else await runInGuest({ kernel: join(folder, kernel), command, onLine });
      const result = resultOf(lines);
      results.set(file, result);
      console.error(`${kernel} ${file}: ${shown(result)}`);
      for (const line of lines) if (/^ *not ok /.test(line)) console.error(`  ${line.trim()}`);
    }
  }
  console.log(table(files, columns));
  const all = columns.flatMap(([, results]) => [...results.values()]);
  return all.every((result) => result?.failed === 0) ? 0 : 1;
}

async function runHere([command, ...args]: readonly string[], onLine: (line: string) => void) {
  const child = spawn(command!, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
  for await (const line of createInterface(child.stdout)) onLine(line);
  if (child.exitCode === null) await once(child, 'exit');
}

/** Reads the closing lines of a report in TAP; undefined if there are none. */
function resultOf(lines: readonly string[]): Result | undefined {
  const count = (name: string) => {
    const line = lines.findLast((each) => each.startsWith(`# ${name} `));
    return line === undefined ? undefined : Number(line.split(' ')[2]);
  };
  const [passed, failed, cancelled, skipped] = ['pass', 'fail', 'cancelled', 'skipped'].map(count);
  if (passed === undefined || failed === undefined) return undefined;
  return { passed, failed: failed + (cancelled ?? 0), skipped: skipped ?? 0 };
}

function shown(result: Result | undefined): string {
  if (!result) return 'ended early';
  const { passed, failed, skipped } = result;
  return [
    `${passed} passed`,
    ...(failed > 0 ? [`${failed} FAILED`] : []),
    ...(skipped > 0 ? [`${skipped} skipped`] : []),
  ].join(', ');
}

function table(
  files: readonly string[],
  columns: readonly [string, ReadonlyMap<string, Result | undefined>][],
): string {
  const rows = [
    ['tests', ...columns.map(([kernel]) => kernel)],
    ...files.map((file) => [
      `${file.split('/')[1]} ${basename(file, '.kernel.test.ts')}`,
      ...columns.map(([, results]) => shown(results.get(file))),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
