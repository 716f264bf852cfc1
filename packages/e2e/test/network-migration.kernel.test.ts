// The path of a node from another pod network to Heddle, and back, with Debian's CNI plug-ins as the other network.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import {
  askHttp,
  type BlockingSocket,
  connectTcp,
  type LabHost,
  type LabNode,
  type LabPod,
  startBackend,
} from '@heddle/lab';
import { listLinks, replaceRoute } from '@heddle/netlink';
import { decodeUtf8 } from '@heddle/sys';
import { CniRuntime } from '../testing/cni-runtime.ts';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { outputOf } from '../testing/output.ts';

const plugins = '/usr/lib/cni';
const skip = !existsSync(`${plugins}/bridge`) && 'containernetworking-plugins is not installed';
const ports = { tcp: [8080], http: [8081], echo: [8082] };

const families = ['v4', 'v6'] as const;

/** The rule by which other networks masquerade: packets of pods to anything but pods. */
const masquerade = (action: '-A' | '-D') =>
  `-t nat ${action} POSTROUTING -s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE`.split(' ');

/** Two nodes of a cluster, each with a container runtime; the first one moves to Heddle. */
class MigrationLab extends ManifestLab {
  readonly runtimes: readonly CniRuntime[];

  constructor(name: string, type: 'bridge' | 'ptp') {
    super(name, { nodes: 2, outside: 1 });
    this.runtimes = this.lab.nodes.map((node) => this.#install(node, type));
  }

  #install(node: LabNode, type: 'bridge' | 'ptp'): CniRuntime {
    const [configDir, binDir] = [this.#folder(node, 'net.d'), this.#folder(node, 'bin')];
    for (const folder of [configDir, binDir]) mkdirSync(folder);
    // As outside of labs, interfaces get a link-local address, which neighbour discovery for others needs.
    node.setSysctl('net/ipv6/conf/default/addr_gen_mode', 0);
    const ranges = podCIDRs(node).map((subnet) => [{ subnet }]);
    const ipam = {
      type: 'host-local',
      dataDir: `${this.directory}/${node.name}-ipam`,
      ...{ ranges, routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }] },
    };
    const more = type === 'bridge' ? { bridge: 'cni0', isGateway: true } : {};
    const configuration = {
      cniVersion: '1.0.0',
      name: 'old',
      plugins: [{ type, ...more, ipam }],
    };
    writeFileSync(`${configDir}/10-old.conflist`, JSON.stringify(configuration));
    return new CniRuntime({ node, configDir, binDirs: [binDir, plugins] });
  }

  /** The directories of the first node's container runtime. */
  get configDir(): string {
    return this.#folder(this.node, 'net.d');
  }

  /** The directory of Heddle's configuration, which the container runtime does not read. */
  get aside(): string {
    return this.#folder(this.node, 'aside');
  }

  get binDir(): string {
    return this.#folder(this.node, 'bin');
  }

  #folder(node: LabNode, kind: string): string {
    return `${this.directory}/${node.name}-${kind}`;
  }

  get outside(): LabHost {
    return this.lab.outside[0]!;
  }

  /** Starts the agent as the network of the first node, of which the container runtime does not know yet. */
  async install(): Promise<void> {
    const { aside: configDir, binDir } = this;
    const config = `${this.directory}/agent.yaml`;
    const cni = { binDir, configDir, socket: `${this.directory}/cni.sock` };
    writeFileSync(config, JSON.stringify({ network: true, cni }));
    this.write('nodes.yaml', ...this.lab.nodes.map(nodeObject));
    await this.start('--config', config);
    await this.until('the configuration', () => existsSync(`${configDir}/05-heddle.conflist`));
  }

  /** Lets the container runtime find Heddle, or the old network again. */
  offer(isOffered: boolean): void {
    const path = `${this.configDir}/05-heddle.conflist`;
    if (isOffered) copyFileSync(`${this.aside}/05-heddle.conflist`, path);
    else rmSync(path);
  }

  /** Runs `heddle cleanup` on the first node. */
  async cleanup(...args: readonly string[]): Promise<{ removed: string[]; left: string[] }> {
    const { aside: configDir, binDir } = this;
    const places = ['--bpffs', this.node.bpffs, '--socket', this.socket];
    const directories = ['--cni-config-dir', configDir, '--cni-bin-dir', binDir];
    const child = this.node.spawn(
      process.execPath,
      [this.program, 'cleanup', '-o', 'json', ...places, ...directories, ...args],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    return JSON.parse(await text(child.stdout!));
  }

  /** Adds the first node's routes to the pods of the second one, as the agent of the old network does. */
  restoreRoutes(): void {
    const other = this.lab.nodes[1]!;
    const { index: link } = this.node.link('eth0');
    this.node.configure((socket) => {
      for (const [i, family] of families.entries()) {
        replaceRoute(socket, {
          destination: podCIDRs(other)[i]!,
          via: other.addresses[family],
          link,
        });
      }
    });
  }

  /** Asserts that a host beyond the node sees the node's address instead of the pod's. */
  assertMasqueraded(pod: LabPod): void {
    const { address, port } = { address: this.outside.addresses.v4, port: 8081 };
    const { client } = JSON.parse(askHttp(pod, { address, port }, '/client'));
    assert.equal(client.replace(/^::ffff:/, '').split(':')[0], pod.node.addresses.v4);
  }

  async addPod(node: LabNode, name: string): Promise<LabPod> {
    const pod = await this.lab.addPodBy(this.runtimes[node.number - 1]!, node, name);
    await startBackend(pod, ports);
    return pod;
  }
}

function nodeObject(node: LabNode) {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: node.name },
    spec: { podCIDRs: podCIDRs(node) },
    status: {
      addresses: families.map((family) => ({
        type: 'InternalIP',
        address: node.addresses[family],
      })),
    },
  };
}

function podCIDRs(node: LabNode): string[] {
  return [`10.244.${node.number}.0/24`, `fd00:10:244:${node.number}::/64`];
}

/** A connection to the echo port of a host, which the host must answer as long as the connection is open. */
class OpenConnection implements Disposable {
  readonly #socket: BlockingSocket;

  constructor(from: LabHost, address: string) {
    this.#socket = connectTcp(from, { address, port: 8082 });
  }

  assertAnswers(): void {
    this.#socket.send('ping');
    assert.equal(decodeUtf8(this.#socket.receive()), 'ping');
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** Asserts that each host reaches each other one, in both families. */
function assertReachEachOther(hosts: readonly LabPod[]): void {
  for (const from of hosts) {
    for (const to of hosts) {
      if (from === to) continue;
      for (const family of families) {
        const name = askHttp(from, { address: to.addresses[family], port: 8081 }, '/name');
        assert.equal(name, to.name, `${from.name} to ${to.name}`);
      }
    }
  }
}

for (const type of ['bridge', 'ptp'] as const) {
  const title = `from the network of the plug-in ${type} to Heddle, and back`;
  describe(title, { skip, timeout: 120_000 }, () => {
    let lab: MigrationLab;
    let node: LabNode;
    let other: LabNode;
    let [old, elsewhere, added]: LabPod[] = [];
    const open: OpenConnection[] = [];
    before(async () => {
      lab = new MigrationLab(`from-${type}`, type);
      [node, other] = lab.lab.nodes as [LabNode, LabNode];
      await startBackend(lab.outside, ports);
      for (const each of [node, other]) await outputOf(each, 'iptables', masquerade('-A'));
      [old, elsewhere] = await Promise.all([
        lab.addPod(node, 'old'),
        lab.addPod(other, 'elsewhere'),
      ]);
    });
    after(() => {
      for (const connection of open) connection[Symbol.dispose]();
      lab?.[Symbol.dispose]();
    });
    const assertConnected = () => {
      for (const connection of open) connection.assertAnswers();
    };

    it('pods of the old network have connections to pods, and to the world by masquerading', () => {
      assertReachEachOther([old!, elsewhere!]);
      lab.assertMasqueraded(old!);
      for (const family of families) {
        const address = elsewhere!.addresses[family];
        open.push(new OpenConnection(old!, address));
        open.push(new OpenConnection(elsewhere!, old!.addresses[family]));
        open.push(new OpenConnection(old!, lab.outside.addresses[family]));
      }
      assertConnected();
    });

    it('the connections go on when Heddle is installed, and new pods come from it', async () => {
      await lab.install();
      assertConnected();
      assert.equal(lab.runtimes[0]!.network, 'old');
      lab.offer(true);
      assert.equal(lab.runtimes[0]!.network, 'heddle');
      added = await lab.addPod(node, 'added');
      assert.match(added.nodeLink, /^hd/);
      assert.notDeepEqual(added.addresses, old!.addresses);
    });

    it('pods of both networks reach each other, on one node and on two', () => {
      assertReachEachOther([old!, added!, elsewhere!]);
      assertConnected();
    });

    it('pods of both networks reach the world, those of Heddle also without rules of the old one', async () => {
      for (const pod of [old!, added!]) lab.assertMasqueraded(pod);
      await outputOf(node, 'iptables', masquerade('-D'));
      try {
        lab.assertMasqueraded(added!);
      } finally {
        await outputOf(node, 'iptables', masquerade('-A'));
      }
    });

    it('no address is given twice', async () => {
      const before = (await lab.status()).pods!.addresses.map(({ used }) => used);
      assert.deepEqual(before, [2, 2], 'those of the old pod and of the new one');
      const more: LabPod[] = [];
      for (let n = 1; n <= 5; n++) more.push(await lab.addPod(node, `more-${n}`));
      const pods = [old!, added!, ...more];
      for (const family of families) {
        const addresses = pods.map((pod) => pod.addresses[family]);
        assert.equal(new Set(addresses).size, pods.length, addresses.join(' '));
      }
      assertConnected();
      for (const pod of more) await lab.lab.removePodBy(lab.runtimes[0]!, pod);
    });

    it('without the configuration, pods of Heddle stay until they are removed', async () => {
      lab.offer(false);
      const { removed, left } = await lab.cleanup('--force');
      assert.ok(removed.includes(`${lab.aside}/05-heddle.conflist`), `${removed}`);
      assert.deepEqual(left, [`${added!.nodeLink} of default/added`]);
      assert.equal(lab.runtimes[0]!.network, 'old');
      assertReachEachOther([old!, added!]);
      assertConnected();
      const again = await lab.cleanup('--force', '--pods');
      assert.ok(again.removed.includes(`interface ${left[0]}`), `${again.removed}`);
      await lab.lab.removePodBy(lab.runtimes[0]!, added!);
    });

    it('pods come from the old network again, whose agent restores its routes', async () => {
      lab.restoreRoutes();
      const again = await lab.addPod(node, 'again');
      assert.doesNotMatch(again.nodeLink, /^hd/);
      assertReachEachOther([old!, again, elsewhere!]);
      lab.assertMasqueraded(again);
      assertConnected();
    });

    it('nothing of Heddle is left', async () => {
      await lab.kill();
      await lab.cleanup();
      assert.deepEqual(await lab.cleanup(), { removed: [], left: [] });
      const links = node.configure(listLinks).map(({ name }) => name);
      assert.deepEqual(
        links.filter((name) => /^(hd|heddle)/.test(name)),
        [],
      );
      assertReachEachOther([old!, elsewhere!]);
      assertConnected();
    });
  });
}
