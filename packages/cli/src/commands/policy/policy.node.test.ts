import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { heddle, root, startHeddle } from '../../../testing/heddle.ts';
import { createProgram } from '../../program.ts';

const example = 'examples/policy';
let folder: string;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-policy-'));
});
after(() => rmSync(folder, { recursive: true }));

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await heddle(['policy', ...args]);
  assert.equal(stderr, '');
  assert.equal(code, 0, stdout);
  return stdout;
}

describe('examples of heddle policy', () => {
  const words = (line: string) =>
    line
      .replace(/ \|.*$/, '')
      .split(' ')
      .slice(1);

  it('examples of --help that need no agent run as they stand', async () => {
    const policy = createProgram().commands.find((each) => each.name() === 'policy')!;
    const examples = new Set<string>();
    for (const command of policy.commands) {
      let help = '';
      command.configureOutput({
        writeOut: (text) => {
          help += text;
        },
      });
      command.outputHelp();
      for (const [, example] of help.matchAll(/^ {2}\$ (heddle policy .*)$/gm))
        examples.add(example!);
    }
    const offline = [...examples].filter((each) => /examples\/|--values/.test(each));
    assert.ok(offline.length > 12, `${offline.length}`);
    for (const example of offline) {
      const { code, stdout, stderr } = await heddle(words(example));
      assert.deepEqual([code, stderr], [0, ''], example);
      assert.ok(stdout.length > 40, example);
    }
  });

  it('examples of docs/policy.md run, and print what the document shows', async () => {
    const lines = readFileSync(join(root, 'docs/policy.md'), 'utf8').split('\n');
    let examples = 0;
    for (const [i, line] of lines.entries()) {
      const example = /^ {4}(?:\$ )?(heddle policy .*)$/.exec(line)?.[1];
      if (example === undefined) continue;
      examples++;
      const { code, stdout, stderr } = await heddle(words(example));
      assert.deepEqual([code, stderr], [0, ''], example);
      if (!line.startsWith('    $')) continue;
      for (const shown of lines.slice(i + 1)) {
        if (!shown.startsWith('    ')) break;
        if (shown.trim() !== '...') assert.ok(stdout.split('\n').includes(shown.slice(4)), shown);
      }
    }
    assert.ok(examples > 6, `${examples}`);
  });
});

describe('heddle policy check', () => {
  it('policy check shows what the example selects, and finds no mistakes', async () => {
    const text = await run('check', example);
    assert.match(
      text,
      /NetworkPolicy shop\/api {2}examples\/policy\/policies\.yaml:\d+\n {2}selects {4}1 pod: shop\/api-1\n/,
    );
    assert.match(text, /valid: 4 policies, 0 errors, 0 warnings in examples\/policy\n$/);
  });

  it('policy check fails for an error with the file and the line, and for a warning if it is strict', async () => {
    const bad = join(folder, 'bad.yaml');
    const policy = (ingress: string) =>
      `# A comment.\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: bad, namespace: shop }\nspec: { podSelector: {}, ingress: [${ingress}] }\n`;
    writeFileSync(bad, policy('{ form: [] }'));
    const failed = await heddle(['policy', 'check', bad, '--objects', example, '-o', 'json']);
    assert.equal(failed.code, 1);
    const { valid, errors, policies } = JSON.parse(failed.stdout);
    assert.deepEqual([valid, errors], [false, 1]);
    assert.deepEqual([policies[0].file, policies[0].line, policies[0].pods.length], [bad, 2, 4]);
    assert.equal(policies[0].findings[0].at, 'spec.ingress[0].form');
    writeFileSync(bad, policy('{ ports: [{ port: 80 }] }'));
    assert.equal((await heddle(['policy', 'check', bad])).code, 0);
    const strict = await heddle(['policy', 'check', bad, '--strict']);
    assert.equal(strict.code, 1);
    assert.match(strict.stdout, /warning +spec\.ingress\[0\]\.ports\[0\] has no protocol/);
    assert.match(strict.stdout, /note: no pods are known/);
  });

  it('policy check names policies of other kinds, broken documents and missing files', async () => {
    const other = join(folder, 'other.yaml');
    writeFileSync(
      other,
      'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: web, namespace: shop }\nspec: {}\n---\na: [\n',
    );
    const { code, stdout } = await heddle(['policy', 'check', other]);
    assert.equal(code, 1);
    assert.match(
      stdout,
      /warning {2}\S+:1: CiliumNetworkPolicy shop\/web \(cilium\.io\/v2\) is not used: Heddle enforces/,
    );
    assert.match(stdout, /error {4}\S+:[67]: /);
    const missing = await heddle(['policy', 'check', join(folder, 'none')]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /^heddle: check \S+: there is no such file or folder\n$/);
    const dangling = join(folder, 'dangling');
    mkdirSync(dangling);
    symlinkSync('nowhere', join(dangling, 'a.yaml'));
    const broken = await heddle(['policy', 'check', dangling]);
    assert.equal(broken.code, 1);
    assert.match(broken.stderr, /^heddle: check \S+\/a\.yaml: there is no such file or folder\n$/);
  });
});

describe('heddle policy explain', () => {
  const explain = ['explain', '--objects', example];

  it('policy explain names the isolating policy and the nearest rule', async () => {
    const text = await run(
      ...explain,
      '--from',
      'shop/front-1',
      '--to',
      'shop/db',
      '--port',
      '5432',
    );
    assert.match(
      text,
      /^denied {2}pod shop\/front-1 \(10\.7\.1\.11\) > pod shop\/db-0 \(10\.7\.2\.13\) of service shop\/db, TCP\/5432\n/,
    );
    assert.match(text, / {2}ingress {2}denies {2}NetworkPolicy shop\/db isolates shop\/db-0/);
    assert.match(
      text,
      /nearest: ingress\[0\] of NetworkPolicy shop\/db has this port, but allows pods with app=api/,
    );
  });

  it('policy explain prints JSON, and reads objects from standard input', async () => {
    const args = ['policy', 'explain', '--objects', '-', '-o', 'json'];
    const ends = ['--from', 'shop/api-1', '--to', 'shop/db-0', '--port', '5432'];
    const child = startHeddle([...args, ...ends], { stdio: ['pipe', 'pipe', 'inherit'] });
    const files = ['objects.yaml', 'policies.yaml'].map((name) =>
      readFileSync(join(root, example, name), 'utf8'),
    );
    child.stdin!.end(files.join('---\n'));
    let text = '';
    for await (const data of child.stdout!) text += data;
    const [connection] = JSON.parse(text).connections;
    assert.equal(connection.allowed, true);
    assert.deepEqual(
      [connection.egress.rule.policy, connection.egress.rule.number],
      ['NetworkPolicy shop/api', 0],
    );
  });

  it('policy explain answers about ICMP, and reports ends that are not known', async () => {
    const icmp = await run(
      ...explain,
      '--from',
      '198.51.100.7',
      '--to',
      'shop/db-0',
      '--protocol',
      'icmp',
    );
    assert.match(icmp, /^denied {2}198\.51\.100\.7 > pod shop\/db-0 \(10\.7\.2\.13\), ICMP\n/);
    const { code, stderr } = await heddle([
      'policy',
      ...explain,
      '--from',
      'shop/x',
      '--to',
      'shop/db',
      '--port',
      '5432',
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /^heddle: find shop\/x: no pod, node or service has this name .*\n$/);
    const portless = await heddle(['policy', ...explain, '--from', 'shop/db', '--to', 'shop/db-0']);
    assert.equal(portless.code, 2);
    assert.match(portless.stderr, /^heddle: explain connection: --port is missing/);
  });
});

describe('heddle policy matrix', () => {
  it('policy matrix shows allowed ports, or one port as a grid', async () => {
    const all = await run('matrix', '--objects', example);
    assert.match(all, /^shop\/front +shop\/api-1 +TCP\/9000$/m);
    assert.match(all, /^shop\/api-1 +kube-system\/coredns-1 {2}TCP\/53, UDP\/53$/m);
    const grid = await run('matrix', '--objects', example, '--namespace', 'shop', '--port', '5432');
    assert.match(
      grid,
      /^1 +shop\/api-1 +\. +yes +no\n2 +shop\/db-0 +no +\. +no\n3 +shop\/front \(2 pods\) +no +no +no$/m,
    );
  });

  it('policy matrix prints JSON and CSV', async () => {
    const json = JSON.parse(await run('matrix', '--objects', example, '-o', 'json'));
    const cell = json.cells.find(
      (each: { from: string; to: string }) => each.from === 'shop/api-1' && each.to === 'shop/db-0',
    );
    assert.deepEqual(cell.ports, {
      ranges: [{ protocol: 'TCP', first: 5432, last: 5432 }],
      other: false,
    });
    const csv = await run('matrix', '--objects', example, '--port', 'UDP/53', '-o', 'csv');
    assert.match(
      csv,
      /^shop\/api-1,kube-system\/coredns-1,UDP,53,allowed,allowed by egress\[1\] of NetworkPolicy shop\/api,/m,
    );
    const { code, stderr } = await heddle(['policy', 'matrix', '--objects', example, '-n', 'none']);
    assert.deepEqual(
      [code, stderr],
      [1, 'heddle: make matrix: no pods are known in namespace none\n'],
    );
  });
});

describe('heddle policy diff, suggest and tenants', () => {
  const change = 'examples/policy-change';
  const objects = ['--objects', example];

  it('policy diff compares all pairs of pods, or the connections of a file', async () => {
    const pairs = await run('diff', '--apply', `${change}/isolate.yaml`, ...objects);
    assert.match(pairs, /^shop\/front \(2 pods\) +shop\/api-1 +TCP\/9000 +none$/m);
    assert.match(pairs, /^lab\/job-1 +shop\/db-0 +none +TCP\/5432$/m);
    const flows = ['--flows', `${change}/flows.json`, ...objects];
    const denied = await run('diff', '--apply', `${change}/isolate.yaml`, ...flows);
    assert.match(
      denied,
      /^denied +pod shop\/front-1 +pod shop\/api-1 +TCP\/9000 +1 +NetworkPolicy shop\/api isolates/m,
    );
    assert.match(denied, /^2 connections of 4 would change their verdicts$/m);
    const deleted = JSON.parse(
      await run('diff', '--apply', `${example}/policies.yaml`, '--delete', ...flows, '-o', 'json'),
    );
    assert.deepEqual(deleted, { connections: 4, changes: [] });
  });

  it('policy diff reports manifests and files of connections that it cannot use', async () => {
    const failed = async (...args: string[]) => {
      const { code, stderr } = await heddle(['policy', 'diff', ...args, ...objects]);
      assert.equal(code, 1);
      return stderr;
    };
    assert.match(
      await failed('--apply', `${example}/objects.yaml`),
      /^heddle: read policies \S+: it has no NetworkPolicy and no ClusterNetworkPolicy\n$/,
    );
    const flows = join(folder, 'flows.json');
    writeFileSync(flows, '{"flows": [{"protocol": "TCP"}]}');
    assert.match(
      await failed('--apply', `${change}/isolate.yaml`, '--flows', flows),
      /^heddle: read flows \S+: flows\[0\] has no client \(it must be what heddle flow list -o json prints\)\n$/,
    );
    assert.match(
      await failed('--apply', `${change}/isolate.yaml`, '--flows', folder),
      /^heddle: read flows \S+: it is a folder \(give a dump, or a file that heddle flow list -o json has printed\)\n$/,
    );
  });

  it('policy suggest writes policies that policy check accepts and that allow what was seen', async () => {
    const { code, stdout, stderr } = await heddle([
      ...['policy', 'suggest', '--from-flows', `${change}/flows.json`, '-n', 'shop'],
      ...['--objects', `${example}/objects.yaml`],
    ]);
    assert.deepEqual([code, stderr], [0, '']);
    const file = join(folder, 'suggested.yaml');
    writeFileSync(file, stdout);
    const only = ['--objects', `${example}/objects.yaml`];
    const checked = await run('check', file, ...only, '--strict');
    assert.match(checked, /valid: 3 policies, 0 errors, 0 warnings/);
    const diff = await run('diff', '--apply', file, '--flows', `${change}/flows.json`, ...only);
    assert.match(diff, /^0 connections of 4 would change/);
    const none = await heddle([
      ...[
        'policy',
        'suggest',
        '--from-flows',
        `${change}/flows.json`,
        '-n',
        'kube-system',
        ...objects,
      ],
    ]);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /none of the 4 connections is of a pod of namespace kube-system/);
  });

  it('policy tenants prints policies that isolate the namespaces of the example', async () => {
    const yaml = await run('tenants', '--label', 'team', '--allow-dns', ...objects);
    const file = join(folder, 'tenants.yaml');
    writeFileSync(file, yaml);
    const checked = await run('check', file, '--objects', `${example}/objects.yaml`, '--strict');
    assert.match(checked, /valid: 3 policies, 0 errors, 0 warnings/);
    const given = ['--values', 'a,b', '--nodes', '192.0.2.1/32,192.0.2.2/32'];
    assert.equal(yaml, await run('tenants', '--label', 'team', '--allow-dns', ...given));
    const none = ['policy', 'tenants', '--label', 'team', '--socket', join(folder, 'none')];
    assert.equal((await heddle(none)).code, 4);
  });
});
