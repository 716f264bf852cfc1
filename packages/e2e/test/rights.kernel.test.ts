// The pod network with the rights and mounts of the DaemonSet: its container runs under runc.
import assert from 'node:assert/strict';
import { type ChildProcess, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { deploymentObjects, readSettings } from '@heddle/deploy';
import { askHttp, connectTcp, type LabNode, startBackend } from '@heddle/lab';
import { listLinks } from '@heddle/netlink';
import { CniRuntime } from '../testing/cni-runtime.ts';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { RuncPod, type RuncPodOptions } from '../testing/runc-pod.ts';

const skip = spawnSync('runc', ['--version']).status !== 0 && 'runc is not installed';
const families = ['v4', 'v6'] as const;

/** A node whose agent is the container of the DaemonSet. */
class RightsLab extends ManifestLab {
  #runs = 0;

  get configDir(): string {
    return `${this.directory}/net.d`;
  }

  get binDir(): string {
    return `${this.directory}/bin`;
  }

  constructor() {
    super('rights', { nodes: 1 });
    for (const folder of ['bin', 'net.d', 'run']) mkdirSync(`${this.directory}/${folder}`);
    this.write('node.yaml', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: this.node.name },
      spec: { podCIDRs: ['10.244.1.0/24', 'fd00:10:244:1::/64'] },
      status: {
        addresses: families.map((family) => ({
          type: 'InternalIP',
          address: this.node.addresses[family],
        })),
      },
    });
  }

  /** Runs the DaemonSet's container. */
  run(without: Pick<RuncPodOptions, 'withoutCapability' | 'withoutVolume'> = {}): RuncPod {
    const folder = `${this.directory}/pod-${++this.#runs}`;
    mkdirSync(folder);
    const places = [`cni.binDir=${this.binDir}`, `cni.configDir=${this.configDir}`];
    const objects = deploymentObjects(
      readSettings(['network=true', 'devices=eth0', ...places], '0'),
    );
    const onNode = new Map([
      ['/sys/fs/bpf', this.node.bpffs],
      ['/sys/fs/cgroup', this.node.cgroup],
      ['/run/heddle', `${this.directory}/run`],
      ['/run/netns', dirname(this.node.netnsPath)],
    ]);
    return new RuncPod({
      ...{ folder, objects, manifests: this.folder, ...without },
      nodeName: this.node.name,
      netns: this.node.netnsPath,
      onNode: (path) => onNode.get(path) ?? path,
    });
  }

  async untilReady(pod: RuncPod): Promise<CniRuntime> {
    const { configDir, binDir, node } = this;
    await this.until(
      'the network configuration',
      () => {
        this.log = pod.output;
        assert.equal(pod.hasEnded, false, pod.output);
        return existsSync(`${configDir}/05-heddle.conflist`);
      },
      20_000,
    );
    // Only the agent of a lab has its socket elsewhere.
    const socket = `${this.directory}/run/cni.sock`;
    return new CniRuntime({ node, configDir, binDirs: [binDir], replaced: { socket } });
  }
}

/** A process in a network namespace that belongs to a user namespace of its own, as of a pod with `hostUsers: false`. */
function startInUserNamespace(node: LabNode): ChildProcess {
  const args = ['--user', '--map-root-user', '--net', 'sleep', '100'];
  return node.spawn('unshare', args, { stdio: 'ignore' });
}

describe('the rights of the DaemonSet with network: true', { skip, timeout: 120_000 }, () => {
  let lab: RightsLab;
  let running: RuncPod | undefined;
  before(() => {
    lab = new RightsLab();
  });
  after(async () => {
    await running?.[Symbol.asyncDispose]();
    lab?.[Symbol.dispose]();
  });

  it('suffice to connect pods, and to disconnect them', async () => {
    running = lab.run();
    const runtime = await lab.untilReady(running);
    const one = await lab.lab.addPodBy(runtime, lab.node, 'one');
    const two = await lab.lab.addPodBy(runtime, lab.node, 'two');
    await startBackend(two, { http: [8081] });
    for (const family of families) {
      const address = two.addresses[family];
      assert.equal(askHttp(one, { address, port: 8081 }, '/name'), 'two');
      assert.equal(askHttp(lab.node, { address, port: 8081 }, '/name'), 'two');
    }
    const reuse = one.enter(() => readFileSync('/proc/sys/net/ipv4/tcp_tw_reuse', 'utf8').trim());
    assert.equal(reuse, '1', 'settings of pods are written');
    for (const pod of [one, two]) await lab.lab.removePodBy(runtime, pod);
    const links = lab.node.configure(listLinks).map(({ name }) => name);
    assert.deepEqual(
      links.filter((name) => name.startsWith('hd')),
      [],
    );
    assert.doesNotMatch(running.output, /EPERM|EACCES|EROFS|not permitted|read-only/i);
  });

  it('suffice for a pod whose network namespace belongs to a user namespace', async () => {
    const runtime = await lab.untilReady(running!);
    const other = await lab.lab.addPodBy(runtime, lab.node, 'other');
    const child = startInUserNamespace(lab.node);
    try {
      const netnsPath = `/proc/${child.pid}/ns/net`;
      const node = lab.node.enter(() => readlinkSync('/proc/thread-self/ns/net'));
      await lab.until('the namespace', () => readlinkSync(netnsPath) !== node);
      const pod = { name: 'user', netnsPath };
      const { addresses } = await runtime.add(pod);
      for (const family of families) {
        assert.throws(() => connectTcp(other, { address: addresses[family], port: 9 }), {
          code: 'ECONNREFUSED',
        });
      }
      await runtime.remove(pod);
    } finally {
      child.kill();
    }
    await lab.lab.removePodBy(runtime, other);
  });

  it('suffice for cleanup while the agent runs', async () => {
    const runtime = await lab.untilReady(running!);
    const pod = await lab.lab.addPodBy(runtime, lab.node, 'last');
    const cni = ['--cni-bin-dir', lab.binDir, '--cni-config-dir', lab.configDir];
    const args = ['cleanup', '--force', '--pods', '--bpffs', '/run/bpffs', ...cni];
    const output = await running!.heddle(...args);
    const interfaces = [`interface ${pod.nodeLink} of default/last`, 'interface heddle0'];
    const files = [`${lab.configDir}/05-heddle.conflist`, `${lab.binDir}/heddle-cni`];
    for (const removed of [...files, ...interfaces]) {
      assert.ok(output.includes(`removed ${removed}\n`), output);
    }
    const links = lab.node.configure(listLinks).map(({ name }) => name);
    assert.deepEqual(links.sort(), ['eth0', 'lo']);
    lab.lab.removePod(pod);
  });

  for (const [what, without, message] of [
    ['CAP_SYS_ADMIN', { withoutCapability: 'SYS_ADMIN' }, /namespace.*permitted/],
    ['the mount of network settings', { withoutVolume: 'sysctls' }, /sysctls|read-only/],
  ] as const) {
    it(`do not suffice without ${what}: ADD fails and names the reason`, async () => {
      await running?.[Symbol.asyncDispose]();
      running = lab.run(without);
      const runtime = await lab.untilReady(running);
      await lab.until('the agent to answer', () => /programmed/.test(running!.output));
      await assert.rejects(lab.lab.addPodBy(runtime, lab.node), message);
    });
  }
});
