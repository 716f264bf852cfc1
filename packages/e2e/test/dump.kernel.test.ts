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
import { Cluster } from '../testing/cluster.ts';
import { service, slice } from '../testing/objects.ts';
import { Site } from '../testing/site.ts';

const nobody = 65534;
let folder: string;
before(() => {
  // Others may enter, so that nobody can read a dump there.
  folder = mkdtempSync(join(tmpdir(), 'heddle-dump-'));
});
after(() => rmSync(folder, { recursive: true }));

describe('heddle dump', () => {
  let site: Site;
  before(async () => {
    site = await Site.open('dump');
    const { product } = site;
    await product.apply(
      'web.yaml',
      service('web', ['10.96.8.1'], { type: 'NodePort', ports: [{ port: 80, nodePort: 30_180 }] }),
      slice('web', site.v4(1, 2)),
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
      slice('checked', site.v4(1)),
    );
    await site.client.pods('10.96.8.1', 80, 5);
    const nobodyServes = () => askTcp(product.pod(0), { address: '10.96.8.2', port: 80 }, 'who?');
    assert.throws(nobodyServes, { code: 'ECONNREFUSED' });
  });
  after(() => site?.[Symbol.dispose]());

  test('answers as the agent did, without root and without the agent', async () => {
    const { product } = site;
    const own = join(folder, 'node.dump');
    const made = (await product.heddle('dump', own)) as { agent: boolean };
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
      const live = (await product.heddle(...command)) as { residentBytes?: number };
      const args = [...command, '--from-dump', file, '-o', 'json'];
      const { code, stdout, stderr } = await heddle(args, { uid: nobody });
      assert.deepEqual([code, stderr], [0, ''], command.join(' '));
      const saved = JSON.parse(stdout) as { residentBytes?: number };
      // The agent's memory is the one thing that does not stand still.
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
    // Ages are those of the time that the dump is of.
    const table = await heddle(['status', '--from-dump', file]);
    assert.match(table.stdout, /^agent +\S+, process \d+, up \d+s,/m);
  });

  test('has the maps, links and places as the kernel has them', async () => {
    const { product } = site;
    const file = join(folder, 'maps.dump');
    await product.heddle('dump', file);
    const dump = await readDump(file);
    const status = await product.status();
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
    const own = pods.find(({ cookie }) => cookie === product.pod(0).netnsCookie)!;
    assert.equal(own.isServed, true);
    assert.ok(own.addresses.includes(product.pod(0).addresses.v4));
    const [node] = dump.namespaces.filter(({ isNode }) => isNode);
    assert.equal(node!.cookie, product.node.netnsCookie);
    assert.ok(dump.network!.links.some(({ name }) => name === 'eth0'));
  });

  test('finds the pins where they are here, when the agent has them at another path', async () => {
    const { product } = site;
    const elsewhere = mkdtempSync(join(tmpdir(), 'heddle-bpffs-'));
    const made = (args: readonly string[]) =>
      new Promise<string>((resolve) => {
        // The agent's path has another, empty file system here; the pins are at `elsewhere`.
        const script = `mount --bind "$1" ${elsewhere}; mount -t bpf bpf "$1"; mount -t bpf bpf /sys/fs/bpf; shift; exec "$@"`;
        const child = product.node.spawn(
          'unshare',
          [
            ...['--mount', '--propagation', 'private', 'sh', '-ec', script],
            ...['sh', product.node.bpffs, process.execPath, `${root}packages/cli/src/main.ts`],
            ...['dump', join(folder, 'other.dump'), '--socket', product.socket, ...args],
          ],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        );
        let said = '';
        for (const stream of [child.stdout!, child.stderr!]) {
          stream.on('data', (data) => {
            said += data;
          });
        }
        child.on('close', () => resolve(said));
      });
    try {
      assert.match(await made([]), /Heddle has no pins there .*--bpffs/);
      assert.match(await made(['--bpffs', elsewhere]), /^wrote .*other\.dump: [1-9]\d* maps/);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  test('writes to standard output, and its summary to standard error', async () => {
    const { product } = site;
    const file = join(folder, 'piped.dump');
    const { execFileSync } = await import('node:child_process');
    const command = [process.execPath, `${root}packages/cli/src/main.ts`, 'dump', '-'];
    const said = execFileSync(
      'sh',
      ['-c', '"$@" 2>&1 >"$0"', file, ...command, '--socket', product.socket],
      { encoding: 'utf8' },
    );
    assert.match(said, /^wrote to standard output: [1-9]\d* maps/);
    assert.ok((await readDump(file)).links.length > 0);
  });

  test('opens maps so that they can’t be changed', () => {
    const { product } = site;
    using map = BpfMap.openReadOnly(
      new LinuxBpf(product.platform),
      `${currentPins(product.node.bpffs).maps}/services`,
    );
    const [[key, value]] = [...map.entries()] as [[Uint8Array, Uint8Array]];
    assert.deepEqual(map.lookup(key), value);
    const denied = (error: unknown) => error instanceof SysError && error.code === 'EPERM';
    assert.throws(() => map.update(key, value), denied);
    assert.throws(() => map.delete(key), denied);
  });

  test('is of use without an agent, too', async () => {
    const { product } = site;
    const file = join(folder, 'alone.dump');
    const { code, stdout } = await heddle([
      ...['dump', file, '--socket', join(folder, 'none.sock')],
      ...['--bpffs', product.node.bpffs],
    ]);
    assert.equal(code, 0);
    assert.match(stdout, /^wrote .*maps with \d+ entries/);
    assert.match(stdout, /^without the agent: reach agent: none listens/m);
    const read = await heddle(['status', '--from-dump', file]);
    assert.equal(read.code, 1);
    assert.match(read.stderr, /it has no answers of an agent, because none was reached/);
  });

  test('says that there is nothing of Heddle', async () => {
    const { code, stderr } = await heddle([
      ...['dump', join(folder, 'no.dump'), '--socket', join(folder, 'none.sock')],
      ...['--bpffs', folder],
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /Heddle has no pins there/);
  });
});

test('a dump has no secrets of the cluster', async () => {
  using cluster = await Cluster.open('secrets', { nodes: 1, podsPerNode: 1 });
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
