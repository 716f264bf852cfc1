// Replaces an agent of an earlier build by this one while connections of pods and external clients
// continue and new ones are made all the time.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BlockingSocket, connectTcp, type LabHost, startBackend } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';
import { missingCommit, OtherBuild } from '../testing/other-build.ts';

/** The last commit before the layout of the flow table changed (from 96 to 136 bytes for a flow). */
const earlier = '4e58768';
const skip = missingCommit(earlier) ?? false;
const clusterIP = '10.96.0.10';
const nodePort = 30_080;
/**
 * The pause between groups of 16 connections. Closed connections hold their SNAT ports for a
 * minute, so faster clients would exhaust them.
 */
const pauseMs = 40;
const loop = fileURLToPath(new URL('../testing/traffic/connect-loop.ts', import.meta.url));
const server = fileURLToPath(new URL('../testing/traffic/reply-loop.ts', import.meta.url));

/** A process that makes new connections all the time. */
interface Load {
  readonly process: ChildProcess;
  made: number;
  failures: readonly string[];
}

describe(`an upgrade under load from commit ${earlier}`, { skip }, () => {
  let agentLab: ManifestLab;
  let other: OtherBuild;
  const loads: Load[] = [];

  before(async () => {
    other = new OtherBuild(earlier);
    agentLab = new ManifestLab('upgrade', { nodes: 2, podsPerNode: 4, outside: 1 });
    const local = agentLab.node.pods;
    const [remote, remoteServer] = agentLab.lab.nodes[1]!.pods;
    // Some pods keep connections open, others reply to one byte of each new connection.
    await Promise.all([
      startBackend(local[1]!, { tcp: [8080], udp: [8080] }),
      startBackend(remote!, { tcp: [8080], udp: [8080] }),
      startServer(local[2]!, 1),
      startServer(remoteServer!, 2),
    ]);
    const ports = (number: number) => [
      { name: 'tcp', port: 80, targetPort: 8080, nodePort: number, protocol: 'TCP' },
      { name: 'udp', port: 80, targetPort: 8080, nodePort: number, protocol: 'UDP' },
    ];
    const slicePorts = [
      { name: 'tcp', port: 8080, protocol: 'TCP' },
      { name: 'udp', port: 8080, protocol: 'UDP' },
    ];
    const address = (pod: { addresses: { v4: string } }) => pod.addresses.v4;
    agentLab.write(
      'all.yaml',
      service('web', [clusterIP], { type: 'NodePort', ports: ports(nodePort) }),
      slice('web', [address(local[1]!), address(remote!)], { ports: slicePorts }),
      service('busy', ['10.96.0.11'], {
        type: 'NodePort',
        ports: [{ name: 'tcp', port: 80, targetPort: 8080, nodePort: nodePort + 1 }],
      }),
      slice('busy', [address(local[2]!), address(remoteServer!)], {
        ports: [{ name: 'tcp', port: 8080 }],
      }),
    );
  });

  after(() => {
    for (const { process } of loads) process.kill('SIGKILL');
    agentLab?.[Symbol.dispose]();
    other?.[Symbol.dispose]();
  });

  /** Starts a server for new connections; resolves when it listens. */
  function startServer(pod: LabHost, number: number): Promise<void> {
    const child = pod.spawn(process.execPath, [server, `${number}`, '8080'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    return new Promise((resolve) => child.stdout!.once('data', () => resolve()));
  }

  function startLoad(place: LabHost, address: string, port: number): Load {
    const child = place.spawn(process.execPath, [loop, address, `${port}`, `${pauseMs}`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const load: Load = { process: child, made: 0, failures: [] };
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const space = line.indexOf(' ');
      load.made = Number(line.slice(0, space));
      load.failures = JSON.parse(line.slice(space + 1)) as string[];
    });
    loads.push(load);
    return load;
  }

  /** Sends a request on a socket and returns the name of the pod that answers. */
  function ask(socket: BlockingSocket): string {
    socket.send('x');
    return decodeUtf8(socket.receive()).split(' ')[0]!;
  }

  /** Opens UDP and TCP sockets until both backends hold one of each. */
  function openAll(place: LabHost, address: string, port: number): [BlockingSocket, string][] {
    const open: [BlockingSocket, string][] = [];
    for (const protocol of ['tcp', 'udp'] as const) {
      const pods = new Set<string>();
      for (let i = 0; i < 64 && pods.size < 2; i++) {
        const socket =
          protocol === 'tcp'
            ? connectTcp(place, { address, port })
            : place.enter(() => BlockingSocket.open(agentLab.platform, { protocol, family: 4 }));
        if (protocol === 'udp') socket.connect({ address, port });
        const pod = ask(socket);
        // The second request confirms a UDP flow.
        assert.equal(ask(socket), pod);
        open.push([socket, pod]);
        pods.add(pod);
      }
      assert.equal(pods.size, 2, `${protocol} reaches both pods`);
    }
    return open;
  }

  /** Waits until each load has made another few hundred connections. */
  async function moreLoad(): Promise<void> {
    const before = loads.map(({ made }) => made);
    for (const [i, load] of loads.entries()) {
      await agentLab.until(`more connections of client ${i}`, () => load.made > before[i]! + 320);
    }
  }

  test('open connections continue and no new one fails', async () => {
    const current = agentLab.program;
    const node = agentLab.node.addresses.v4;
    const [outside] = agentLab.lab.outside;
    agentLab.program = other.program;
    const first = await agentLab.start();
    const open = [...openAll(agentLab.pod(0), clusterIP, 80), ...openAll(outside!, node, nodePort)];
    using held = new DisposableStack();
    for (const [socket] of open) held.use(socket);
    const check = (when: string) => {
      for (const [socket, pod] of open) assert.equal(ask(socket), pod, when);
      for (const { failures } of loads) assert.deepEqual(failures, [], when);
    };
    startLoad(agentLab.pod(3), '10.96.0.11', 80);
    startLoad(outside!, node, nodePort + 1);
    await moreLoad();
    check('with the earlier agent');

    await agentLab.kill();
    await moreLoad();
    check('without an agent');
    agentLab.program = current;
    const second = await agentLab.start();
    assert.equal(second.datapath.adopted, true);
    assert.ok(second.datapath.abi >= first.datapath.abi);
    await moreLoad();
    check('with this agent');

    // The new agent programs a change.
    agentLab.write(
      'one.yaml',
      service('one', ['10.96.0.12']),
      slice('one', [agentLab.pod(1).addresses.v4]),
    );
    await agentLab.until('the new service to answer', () => {
      try {
        using socket = connectTcp(agentLab.pod(0), { address: '10.96.0.12', port: 80 });
        return ask(socket) !== '';
      } catch {
        return false;
      }
    });
    check('after a change by this agent');
  });
});
