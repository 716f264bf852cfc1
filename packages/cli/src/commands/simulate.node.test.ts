import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { SimulationReport } from '@heddle/simulate';
import { heddle } from '../../testing/heddle.ts';

const nobody = 65534;
const manifests = ['--manifests', 'examples/simulate/manifests'];
let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-simulate-'));
});
after(() => rmSync(folder, { recursive: true }));

function scenario(text: string): string {
  const file = join(folder, 'scenario.yaml');
  writeFileSync(file, text);
  return file;
}

describe('heddle simulate', () => {
  test('heddle simulate runs the example without root and prints a table or JSON', async () => {
    const args = ['simulate', ...manifests, '--scenario', 'examples/simulate/node-loss.yaml'];
    const user = process.getuid!() === 0 ? { uid: nobody, gid: nobody } : {};
    const table = await heddle(args, user);
    assert.deepEqual([table.code, table.stderr], [0, '']);
    assert.match(table.stdout, /^100 nodes, 2 services, seed 7$/m);
    assert.match(
      table.stdout,
      /^3 +2s +maglev: two nodes fail +- +1000 +\d+ +\d+ +0 +\d\.\d+ % +\d\.\d+ % +0$/m,
    );
    assert.match(table.stdout, /^nat_flows +\d+ +[\d.]+ +\d+ +65535 +\d+\.\d+ %$/m);
    const json = await heddle([...args, '-o', 'json'], user);
    assert.deepEqual([json.code, json.stderr], [0, '']);
    const report = JSON.parse(json.stdout) as SimulationReport;
    assert.equal(report.version, 1);
    assert.ok(report.steps.every(({ number, maps }, i) => number === i + 1 && maps.length > 0));
  });

  test('--nodes and --seed override the scenario', async () => {
    const file = scenario('nodes: 9\nseed: 1\nservices: { count: 1 }\nsteps: [{ at: 1s }]');
    const args = ['simulate', '--scenario', file, '--nodes', '2', '--seed', '5', '-o', 'json'];
    const { stdout } = await heddle(args);
    const { nodes, seed } = JSON.parse(stdout) as SimulationReport;
    assert.deepEqual([nodes, seed], [2, 5]);
  });

  test('heddle simulate reports an invalid scenario in a sentence', async () => {
    const empty = join(folder, 'empty');
    for (const [args, code, message] of [
      [['--scenario', 'nowhere.yaml'], 1, 'read scenario nowhere.yaml: there is no such file'],
      [
        ['--scenario', folder],
        1,
        `read scenario ${folder}: it is a folder (name the file with the steps)`,
      ],
      [
        ['--scenario', scenario('steps: [{ at: soon }]')],
        1,
        `read scenario ${join(folder, 'scenario.yaml')}: steps[0].at is "soon"; write a time such as 500ms, 10s, 5m or 2h`,
      ],
    ] as const) {
      const outcome = await heddle(['simulate', ...args]);
      assert.deepEqual(outcome, { code, stdout: '', stderr: `heddle: ${message}\n` });
    }
    const file = scenario('steps: [{ at: 1s }]');
    for (const [args, code, message] of [
      [
        ['--scenario', file],
        2,
        /there are no services \(give a folder with --manifests, or generate/,
      ],
      [['--scenario', file, '--manifests', empty], 1, /simulate .*empty: there is no such folder/],
      [['--scenario', file, ...manifests, '--nodes', '0'], 2, /--nodes is 0; write a whole number/],
      [['--nodes', '3'], 2, /required option '--scenario <file>' not specified/],
    ] as const) {
      const outcome = await heddle(['simulate', ...args]);
      assert.deepEqual([outcome.code, outcome.stdout], [code, ''], outcome.stderr);
      assert.match(outcome.stderr, message);
      assert.doesNotMatch(outcome.stderr, /^ {4}at /m);
    }
  });

  test('heddle simulate names file and line of an invalid manifest', async () => {
    writeFileSync(
      join(folder, 'service.yaml'),
      'apiVersion: v1\nkind: Service\nmetadata: { name: W }\n',
    );
    scenario('steps: [{ at: 1s }]');
    const args = ['simulate', '--manifests', folder, '--scenario', join(folder, 'scenario.yaml')];
    const { code, stderr } = await heddle(args);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /service\.yaml:1: Service without a name|service\.yaml:1: .*metadata\.name is "W"/,
    );
  });
});
