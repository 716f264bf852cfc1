// Tests the real agent on the real kernel with the commands of a user.

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { AgentStatus, ServiceEntry } from '@heddle/agent';
import { createLab, type Lab, type LabNode, type LabPod } from '@heddle/lab';
import { nodePlatform } from '@heddle/sys/node';
import { eventually } from '@heddle/sys/testing/eventually';
import { heddle, root, startHeddle } from '../testing/heddle.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));
const name = `cli-${randomBytes(3).toString('hex')}`;

const server = (text: string) =>
  `require('http').createServer((_, r) => r.end('${text}')).listen(8080, '::', () => console.log('up'))`;
// A reply may take long on a busy machine; the absence of one is checked with a shorter timeout.
const client = (url: string, seconds: number) =>
  `fetch('${url}', { signal: AbortSignal.timeout(${seconds * 1000}) }).then((r) => r.text()).then(console.log, (e) => console.log(e.cause?.code ?? e.name)).then(() => process.exit())`;

describe('heddle agent', { timeout: 240_000 }, () => {
  let lab: Lab;
  let node: LabNode;
  let folder: string;
  let manifests: string;
  let socket: string;
  let agent: ChildProcess | undefined;
  let log = '';
  const children: ChildProcess[] = [];

  before(async () => {
    lab = createLab(nodePlatform(), { name, nodes: 1, podsPerNode: 3 });
    node = lab.nodes[0]!;
    folder = mkdtempSync(join(tmpdir(), 'heddle-cli-'));
    manifests = join(folder, 'manifests');
    socket = join(folder, 'agent.sock');
    cpSync(join(root, 'examples/hello'), manifests, { recursive: true });
    for (const pod of node.pods.slice(0, 2)) {
      const child = pod.spawn(process.execPath, ['-e', server(pod.name)]);
      children.push(child);
      await new Promise((resolve) => child.stdout!.once('data', resolve));
    }
  });
  after(() => {
    agent?.kill('SIGKILL');
    for (const child of children) child.kill('SIGKILL');
    lab?.[Symbol.dispose]();
    if (folder) rmSync(folder, { recursive: true });
  });

  const flags = () => [
    ...['--manifests', manifests, '--node', node.name, '--socket', socket],
    ...['--cgroup', node.cgroup, '--bpffs', node.bpffs],
    ...['--max-services', '1024', '--max-backends', '1024', '--max-slots', '4096'],
  ];

  async function startAgent(): Promise<AgentStatus> {
    log = '';
    const child = node.spawn(process.execPath, [main, 'agent', ...flags()], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    agent = child;
    child.stderr!.on('data', (data) => {
      log += data;
    });
    const check = async () => {
      assert.equal(child.exitCode, null, log);
      const { code, stdout } = await heddle(['status', '--socket', socket, '-o', 'json']);
      const status = code === 0 ? (JSON.parse(stdout) as AgentStatus) : undefined;
      return status?.source.complete ? status : undefined;
    };
    return await eventually('the agent has read everything', check, {
      ms: 15_000,
      stepMs: 100,
      detail: () => log,
    });
  }

  /** Returns the response to a client in a pod, or the error code. */
  function get(pod: LabPod, url: string, seconds = 20): Promise<string> {
    return new Promise((resolve) => {
      let text = '';
      const child = pod.spawn(process.execPath, ['-e', client(url, seconds)]);
      child.stdout!.on('data', (data) => {
        text += data;
      });
      child.on('close', () => resolve(text.trim()));
    });
  }

  const services = async () => {
    const { stdout } = await heddle(['service', 'list', '--socket', socket, '-o', 'json']);
    return (JSON.parse(stdout) as { services: ServiceEntry[] }).services;
  };
  const end = () => new Promise((resolve) => agent!.once('exit', (code) => resolve(code)));

  it('serves the example', async () => {
    const status = await startAgent();
    assert.equal(status.node, 'node1');
    assert.deepEqual(status.rows, { done: 2, pending: 0, failed: 0 });
    assert.ok(status.addresses.includes('192.0.2.1'));
    assert.ok(status.datapath.links.every((link) => link.attached));
    const answers = await Promise.all(
      Array.from({ length: 3 }, () => get(node.pods[2]!, 'http://10.96.0.10/')),
    );
    for (const answer of answers) assert.match(answer, /^pod-1-[12]$/);
    assert.match(await get(node.pods[2]!, 'http://[fd00:10:96::10]/'), /^pod-1-[12]$/);
    const lines = log
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      lines.map(({ level, message }) => `${level} ${message}`),
      ['info agent started', 'info manifests read: 2 rows programmed'],
    );
  });

  it('tune changes and restores settings in the network namespace of the agent', async () => {
    const paths = ['--socket', socket, '--state', join(folder, 'tune.json')];
    const device = (await tuned()).find(({ name }) => name === 'rp-filter')!.subject!;
    const own = `net/ipv4/conf/${device}/rp_filter`;
    const read = () => node.enter(() => readFileSync(`/proc/sys/${own}`, 'utf8').trim());
    node.setSysctl(own, 1);
    const line = new RegExp(`^tuning +rp-filter ${device}: 1, .*\\(run heddle tune\\)$`, 'm');
    try {
      assert.match((await heddle(['status', '--socket', socket])).stdout, line);
      const applied = await heddle(['tune', '--apply', ...paths]);
      assert.match(applied.stdout, new RegExp(`^changed +sysctl ${own}: 1 -> 2$`, 'm'));
      assert.equal(read(), '2');
      assert.doesNotMatch((await heddle(['status', '--socket', socket])).stdout, line);
      const reverted = await heddle(['tune', '--revert', ...paths]);
      assert.match(reverted.stdout, new RegExp(`^restored +sysctl ${own}: 2 -> 1$`, 'm'));
      assert.equal(read(), '1');
    } finally {
      node.setSysctl(own, 0);
    }

    async function tuned(): Promise<{ name: string; subject?: string }[]> {
      const { stdout } = await heddle(['tune', '-o', 'json', ...paths]);
      return JSON.parse(stdout).findings;
    }
  });

  it('an agent does not start beside another one', async () => {
    const { code, stderr } = await heddle(['agent', ...flags()]);
    assert.equal(code, 5);
    assert.match(stderr, /another agent \(process \d+\) works with .*\(stop it first\)/);
  });

  it('an agent and a cleanup do not start on the pins of a running agent, whatever their socket is', async () => {
    const other = [...flags(), '--socket', `${socket}-other`];
    const second = await heddle(['agent', ...other]);
    assert.equal(second.code, 5);
    assert.match(second.stderr, /another agent \(process \d+\) works with .*\(stop it first\)/);
    assert.doesNotMatch(second.stderr, /--socket/);
    const args = ['--bpffs', node.bpffs, '--socket', `${socket}-other`];
    const cleanup = await heddle(['cleanup', ...args]);
    assert.equal(cleanup.code, 5);
    assert.match(cleanup.stderr, /works with .*\(stop it first\)/);
    assert.match(await get(node.pods[2]!, 'http://10.96.0.10/'), /^pod-1-[12]$/);
  });

  it('an agent is replaced without interruption: the next one waits until it has ended', async () => {
    const gone = end();
    const before = agent!;
    const starting = startAgent();
    before.kill('SIGTERM');
    await gone;
    assert.equal((await starting).datapath.adopted, true);
    assert.match(await get(node.pods[2]!, 'http://10.96.0.10/'), /^pod-1-[12]$/);
  });

  it('an agent programs a changed manifest and logs a line', async () => {
    log = '';
    writeFileSync(
      join(manifests, 'more.json'),
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'none', namespace: 'default' },
        spec: { clusterIP: '10.96.0.11', clusterIPs: ['10.96.0.11'], ports: [{ port: 80 }] },
      }),
    );
    await eventually('rows are in the log', () => log.includes('programmed'), {
      ms: 15_000,
      detail: () => log,
    });
    assert.match(log, /"message":"default\/none:80\/TCP\/IPv4 programmed with 0 backends"/);
    assert.equal(log.trim().split('\n').length, 1);
    assert.equal(await get(node.pods[2]!, 'http://10.96.0.11/'), 'ECONNREFUSED');
  });

  it('leaves traffic uninterrupted after kill -9, and the next agent adopts the maps', async () => {
    const gone = end();
    agent!.kill('SIGKILL');
    await gone;
    assert.ok(existsSync(socket), 'left behind');
    rmSync(join(manifests, 'more.json'));
    assert.match(await get(node.pods[2]!, 'http://10.96.0.10/'), /^pod-1-[12]$/);
    const status = await startAgent();
    assert.equal(status.datapath.adopted, true);
    assert.equal(status.datapath.repaired, 0);
    assert.deepEqual(
      (await services()).map((each) => each.name),
      ['hello', 'hello'],
    );
    // A service that was deleted in between is no longer programmed.
    assert.notEqual(await get(node.pods[2]!, 'http://10.96.0.11/', 3), 'ECONNREFUSED');
  });

  it('leaves everything programmed when it is stopped, until cleanup', async () => {
    const gone = end();
    agent!.kill('SIGTERM');
    assert.equal(await gone, 0);
    agent = undefined;
    assert.equal(existsSync(socket), false);
    assert.match(await get(node.pods[2]!, 'http://10.96.0.10/'), /^pod-1-[12]$/);
    const args = ['cleanup', '--socket', socket, '--bpffs', node.bpffs];
    const { code, stdout } = await heddle(args);
    assert.equal(code, 0);
    assert.match(stdout, /^removed .*\/heddle\/v\d+\/links\/connect4$/m);
    assert.deepEqual(readdirSync(node.bpffs), []);
    assert.equal((await heddle(args)).stdout, 'nothing to remove\n');
    assert.doesNotMatch(await get(node.pods[2]!, 'http://10.96.0.10/', 3), /^pod/);
  });
});

describe('heddle lab', { timeout: 60_000 }, () => {
  const lab = `${name}-lab`;

  after(async () => {
    await heddle(['lab', 'down', '--name', lab]);
  });

  it('creates a lab that stays, shows it, runs commands in it, and removes it', async () => {
    const up = await heddle(['lab', 'up', '--nodes', '2', '--pods', '1', '--name', lab]);
    assert.deepEqual([up.code, up.stderr], [0, '']);
    const lines = up.stdout.trim().split('\n');
    assert.deepEqual(
      lines.slice(1).map((line) => line.split(/ +/).slice(0, 3)),
      [
        ['node1', 'node', '192.0.2.1'],
        ['pod-1-1', 'pod', '10.244.1.1'],
        ['node2', 'node', '192.0.2.2'],
        ['pod-2-1', 'pod', '10.244.2.1'],
      ],
    );
    const again = await heddle(['lab', 'up', '--name', lab]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /it is there already \(heddle lab status shows it/);
    const exec = (...args: string[]) => heddle(['lab', 'exec', '--name', lab, ...args]);
    const inside = await exec('pod-2-1', '--', 'cat', '/proc/self/cgroup');
    assert.match(inside.stdout, /^0::.*\/node2\/pod-2-1$/m);
    assert.equal((await exec('pod-1-1', '--', 'sh', '-c', 'exit 7')).code, 7);
    const nowhere = await exec('pod-9-9', '--', 'true');
    assert.equal(nowhere.code, 1);
    assert.match(nowhere.stderr, /there are only .*pod-1-1/);
    assert.match((await exec('pod-1-1', '--', 'no-such-thing')).stderr, /no such command/);
    const status = await heddle(['lab', 'status', '--name', lab, '-o', 'json']);
    const nodes = JSON.parse(status.stdout).nodes;
    assert.equal(nodes[1].pods[0].addresses.v6, 'fd00:10:244:2::1');
    const down = await heddle(['lab', 'down', '--name', lab]);
    assert.equal(down.stdout, `removed lab ${lab}\n`);
    const gone = await heddle(['lab', 'status', '--name', lab]);
    assert.equal(gone.code, 1);
    assert.match(gone.stderr, /^heddle: find lab /);
  });

  it('exec passes the terminal’s signal to the command in a pod', async () => {
    await heddle(['lab', 'up', '--pods', '1', '--name', lab]);
    const command = ['sh', '-c', 'echo up; exec sleep 60'];
    const child = startHeddle(['lab', 'exec', '--name', lab, 'pod-1-1', '--', ...command]);
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
    child.kill('SIGTERM');
    assert.equal(await ended, 143);
  });
});
