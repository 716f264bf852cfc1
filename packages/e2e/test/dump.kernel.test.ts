import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { elsewhere, heddle, root } from '@heddle/cli/testing/heddle';
import { currentPins } from '@heddle/datapath';
import { BpfMap, LinuxBpf } from '@heddle/ebpf';
import { entryCount, mapNamed, readDump } from '@heddle/inspect';
import { askTcp } from '@heddle/lab';
import { SysError } from '@heddle/sys';
import { ClusterLab } from '../testing/cluster-lab.ts';
import { service, slice } from '../testing/objects.ts';
import { ServiceLab } from '../testing/service-lab.ts';

const nobody = 65534;
let folder: string;
before(() => {
  // Other users may enter the folder, so that reading the dump as another user can be tested.
  folder = mkdtempSync(join(tmpdir(), 'heddle-dump-'));
});
after(() => rmSync(folder, { recursive: true }));

describe('heddle dump', () => {
  let setup: ServiceLab;
  before(async () => {
    setup = await ServiceLab.open('dump');
    const { agentLab } = setup;
    await agentLab.apply(
      'web.yaml',
      service('web', ['10.96.8.1'], { type: 'NodePort', ports: [{ port: 80, nodePort: 30_180 }] }),
      slice('web', setup.v4(1, 2)),
      service('none', ['10.96.8.2']),
      service(
        'checked',
        ['10.96.8.3'],
        {
          ...{ type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 30_190 },
          ports: [{ port: 80, nodePort: 30_181 }],
        },
        { status: { loadBalancer: { ingress: [{ ip: '198.51.100.77' }] } } },
      ),
      slice('checked', setup.v4(1)),
    );
    await setup.client.pods('10.96.8.1', 80, 5);
    const nobodyServes = () => askTcp(agentLab.pod(0), { address: '10.96.8.2', port: 80 }, 'who?');
    assert.throws(nobodyServes, { code: 'ECONNREFUSED' });
  });
  after(() => setup?.[Symbol.dispose]());

  test('the commands answer from a dump as from the agent, without root', async () => {
    const { agentLab } = setup;
    const own = join(folder, 'node.dump');
    const made = (await agentLab.heddle('dump', own)) as { agent: boolean };
    assert.equal(made.agent, true);
    assert.equal(statSync(own).mode & 0o777, 0o600);
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.startsWith('node.dump')),
      ['node.dump'],
    );
    const file = join(folder, 'given.dump');
    copyFileSync(own, file);
    const { execFileSync } = await import('node:child_process');
    execFileSync('chmod', ['0644', file]);
    execFileSync('chmod', ['0755', folder]);
    for (const command of [
      ['status'],
      ['config'],
      ['service', 'list'],
      ['service', 'list', '--namespace', 'default'],
      ['service', 'list', '--namespace', 'none'],
      ['service', 'get', 'default/web'],
      ['service', 'get', 'none'],
      ['service', 'get', 'checked'],
      ['backend', 'list'],
      ['backend', 'list', '--service', 'web'],
      ['flow', 'list'],
      ['nat', 'list'],
      ['drop', 'list'],
    ]) {
      const live = (await agentLab.heddle(...command)) as { residentBytes?: number };
      const args = [...command, '--from-dump', file, '-o', 'json'];
      const { code, stdout, stderr } = await heddle(args, { uid: nobody });
      assert.deepEqual([code, stderr], [0, ''], command.join(' '));
      const saved = JSON.parse(stdout) as { residentBytes?: number };
      // Only the agent's memory use changes in between.
      if (live.residentBytes) assert.ok(saved.residentBytes! > 0);
      delete live.residentBytes;
      delete saved.residentBytes;
      assert.deepEqual(saved, live, command.join(' '));
    }
    const events = await heddle(['events', '--from-dump', file], { uid: nobody });
    assert.match(events.stdout, /default\/web:80\/TCP\/IPv4 programmed with 2 backends/);
    const drops = await heddle(['drop', 'list', '--from-dump', file]);
    assert.match(drops.stdout, /^AT +REASON +COUNT\nsocket +no endpoints +1\n$/);
    const far = await heddle(['service', 'list', '--from-dump', file], { env: elsewhere });
    assert.deepEqual([far.code, far.stderr], [0, ''], 'and without Linux');
    assert.match(far.stdout, /^default\/web /m);
    const unknown = await heddle(['service', 'get', 'other', '--from-dump', file]);
    assert.deepEqual([unknown.code, unknown.stdout], [1, '']);
    assert.match(unknown.stderr, /it has no service default\/other/);
    // Ages are relative to the time of the dump.
    const table = await heddle(['status', '--from-dump', file]);
    assert.match(table.stdout, /^agent +\S+, process \d+, up \d+s,/m);
  });

  test('a dump has the maps, links and namespaces of the kernel', async () => {
    const { agentLab } = setup;
    const file = join(folder, 'maps.dump');
    await agentLab.heddle('dump', file);
    const dump = await readDump(file);
    const status = await agentLab.status();
    for (const name of ['services', 'addresses', 'backends', 'slots'] as const) {
      const map = mapNamed(dump, name)!;
      assert.equal(map.cut, false);
      const { entries } = status.datapath.maps.find((each) => each.name === name)!;
      // Unused slots and element 0 of the backends are zero, which a dump leaves out.
      if (name === 'services') assert.equal(entryCount(map), entries);
      assert.ok(entryCount(map) > 0, name);
    }
    assert.deepEqual(
      dump.links.map(({ pin }) => pin).filter((pin) => pin.startsWith('connect')),
      ['connect4', 'connect6'],
    );
    const known = new Set([...dump.tags.values()].flatMap((tags) => Object.values(tags).flat()));
    for (const { pin, info } of dump.links) {
      const program = dump.programs.get(info.programId);
      assert.ok(program && known.has(program.tag), `${pin} runs a program of the objects`);
    }
    const pods = dump.namespaces.filter(({ names }) => names.includes('pod-1-1'));
    const own = pods.find(({ cookie }) => cookie === agentLab.pod(0).netnsCookie)!;
    assert.equal(own.isServed, true);
    assert.ok(own.addresses.includes(agentLab.pod(0).addresses.v4));
    const [node] = dump.namespaces.filter(({ isNode }) => isNode);
    assert.equal(node!.cookie, agentLab.node.netnsCookie);
    assert.ok(dump.network!.links.some(({ name }) => name === 'eth0'));
  });

  test('the dump finds the pins at the default path if the agent’s path has none here', async () => {
    const { agentLab } = setup;
    const elsewhere = mkdtempSync(join(tmpdir(), 'heddle-bpffs-'));
    const made = (args: readonly string[]) =>
      new Promise<string>((resolve) => {
        // The agent's path has another, empty file system here. The pins are at `elsewhere`.
        const script = `mount --bind "$1" ${elsewhere}; mount -t bpf bpf "$1"; mount -t bpf bpf /sys/fs/bpf; shift; exec "$@"`;
        const child = agentLab.node.spawn(
          'unshare',
          [
            ...['--mount', '--propagation', 'private', 'sh', '-ec', script],
            ...['sh', agentLab.node.bpffs, process.execPath, `${root}packages/cli/src/main.ts`],
            ...['dump', join(folder, 'other.dump'), '--socket', agentLab.socket, ...args],
          ],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        );
        let output = '';
        for (const stream of [child.stdout!, child.stderr!]) {
          stream.on('data', (data) => {
            output += data;
          });
        }
        child.on('close', () => resolve(output));
      });
    try {
      assert.match(await made([]), /Heddle has no pins there .*--bpffs/);
      assert.match(await made(['--bpffs', elsewhere]), /^wrote .*other\.dump: [1-9]\d* maps/);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  test('heddle dump - writes the dump to standard output and its summary to standard error', async () => {
    const { agentLab } = setup;
    const file = join(folder, 'piped.dump');
    const { execFileSync } = await import('node:child_process');
    const command = [process.execPath, `${root}packages/cli/src/main.ts`, 'dump', '-'];
    const output = execFileSync(
      'sh',
      ['-c', '"$@" 2>&1 >"$0"', file, ...command, '--socket', agentLab.socket],
      { encoding: 'utf8' },
    );
    assert.match(output, /^wrote to standard output: [1-9]\d* maps/);
    assert.ok((await readDump(file)).links.length > 0);
  });

  test('the dump opens maps read-only', () => {
    const { agentLab } = setup;
    using map = BpfMap.openReadOnly(
      new LinuxBpf(agentLab.platform),
      `${currentPins(agentLab.node.bpffs).maps}/services`,
    );
    const [[key, value]] = [...map.entries()] as [[Uint8Array, Uint8Array]];
    assert.deepEqual(map.lookup(key), value);
    const denied = (error: unknown) => error instanceof SysError && error.code === 'EPERM';
    assert.throws(() => map.update(key, value), denied);
    assert.throws(() => map.delete(key), denied);
  });

  test('a dump without an agent has the kernel’s state and can be traced', async () => {
    const { agentLab } = setup;
    const file = join(folder, 'alone.dump');
    const { code, stdout } = await heddle([
      ...['dump', file, '--socket', join(folder, 'none.sock')],
      ...['--bpffs', agentLab.node.bpffs],
    ]);
    assert.equal(code, 0);
    assert.match(stdout, /^wrote .*maps with \d+ entries/);
    assert.match(stdout, /^without the agent: reach agent: none listens/m);
    const read = await heddle(['status', '--from-dump', file]);
    assert.equal(read.code, 1);
    assert.match(read.stderr, /it has no answers of an agent, because none was reached/);
  });

  test('a dump of a node without pins of Heddle fails with a message', async () => {
    const { code, stderr } = await heddle([
      ...['dump', join(folder, 'no.dump'), '--socket', join(folder, 'none.sock')],
      ...['--bpffs', folder],
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /Heddle has no pins there/);
  });
});

test('a dump contains no secrets of the cluster', async () => {
  using cluster = await ClusterLab.open('secrets', { nodes: 1, podsPerNode: 1 });
  await cluster.start(...cluster.agentArgs);
  const file = join(folder, 'cluster.dump');
  await cluster.heddle('dump', file);
  const text = gunzipSync(readFileSync(file)).toString();
  assert.match(text, /"kubeconfig":/);
  for (const secret of [/token-of-the-agent/, /BEGIN [A-Z ]*(KEY|CERT)/, /authority-data/]) {
    assert.doesNotMatch(text, secret);
  }
  assert.ok(!text.includes(root), 'no paths of the machine that made the command');
});
