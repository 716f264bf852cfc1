// Forwarding of external packets to other nodes, as set by configuration and annotations and shown
// by commands.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { heddle } from '@heddle/cli/testing/heddle';
import { packetOf, trace } from '@heddle/inspect';
import { openDump } from '@heddle/inspect/open';
import { eth, Packet, Tap } from '@heddle/lab';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
const protocols = ['TCP', 'UDP'] as const;
const nodePorts = { plain: 30_580, tunnelled: 30_581, excluded: 30_582 } as const;
type Name = keyof typeof nodePorts;

describe('forwarding to other nodes', () => {
  let agentLab: ManifestLab;
  let port = 41_000;
  before(async () => {
    agentLab = new ManifestLab('forwarding', { nodes: 2, podsPerNode: 1, outside: 1 });
    await agentLab.start();
    await agentLab.apply('nodes.yaml', ...agentLab.lab.nodes.map(nodeObject));
    await agentLab.apply(
      'services.yaml',
      ...objects('plain'),
      ...objects('tunnelled', 'dsr'),
      ...objects('excluded', 'snat'),
    );
  });
  after(() => agentLab?.[Symbol.dispose]());

  const nodeObject = ({ name, addresses }: ManifestLab['node']) => ({
    ...{ apiVersion: 'v1', kind: 'Node', metadata: { name } },
    status: {
      addresses: ipVersions.map((end) => ({ type: 'InternalIP', address: addresses[end] })),
    },
  });

  /** Returns a service with a pod on the other node. */
  function objects(name: Name, forwarding?: string) {
    const nodePort = nodePorts[name];
    const pod = agentLab.lab.pods[1]!;
    const annotations = forwarding === undefined ? {} : { 'heddle.io/forwarding': forwarding };
    const ports = protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol }));
    return [
      service(
        name,
        [`10.96.8.${nodePort % 100}`, `fd00:96::8:${nodePort % 100}`],
        {
          ...{ type: 'NodePort', ipFamilyPolicy: 'RequireDualStack' },
          ports: ports.map((each) => ({ ...each, port: 80, targetPort: 8080, nodePort })),
        },
        { annotations },
      ),
      ...ipVersions.map((end) =>
        slice(name, [endpoint(pod.addresses[end], {}, { nodeName: pod.node.name })], {
          name: `${name}-${end}`,
          ports: ports.map((each) => ({ ...each, port: 8080 })),
        }),
      ),
    ];
  }

  /** Returns the IPv4 rows by protocol. */
  async function forwarding(name: Name) {
    const rows = await agentLab.service(name);
    return protocols.map(
      (each) =>
        rows.find(({ protocol, family }) => protocol === each && family === 'IPv4')!.forwarding,
    );
  }

  const printed = async (...args: string[]) => {
    const { stdout } = await heddle([...args, '--socket', agentLab.socket]);
    return stdout;
  };

  test('an annotation enables tunnels, as service list, service get and flow list show', async () => {
    assert.deepEqual(await forwarding('plain'), ['snat', 'snat']);
    assert.deepEqual(await forwarding('tunnelled'), ['dsr', 'dsr']);
    const list = await printed('service', 'list');
    assert.match(list, /default\/tunnelled +tcp\/TCP +IPv4 +\S+ \+\d+ +1 by dsr +/);
    assert.match(list, /default\/plain +tcp\/TCP +IPv4 +\S+ \+\d+ +1 +\d/);
    assert.match(await printed('service', 'get', 'tunnelled'), /forwarding +dsr/);
  });

  test('trace predicts the tunnelled packet that then arrives at the other node', async () => {
    const outside = agentLab.lab.outside[0]!;
    using client = Tap.open(outside, 'eth0');
    using other = Tap.open(agentLab.lab.nodes[1]!, 'eth0');
    const live = () => openDump({ socket: agentLab.socket, bpffs: agentLab.node.bpffs });
    for (const end of ipVersions) {
      const backend = agentLab.lab.pods[1]!.addresses[end];
      for (const protocol of ['tcp', 'udp'] as const) {
        const request = {
          ...{ from: outside.addresses[end], to: agentLab.node.addresses[end] },
          ...{ port: nodePorts.tunnelled, protocol, sourcePort: ++port },
        };
        await agentLab.until('tunnels to the backend, which is new', async () => {
          return trace(await live(), request).verdict.outcome === 'tunnelled';
        });
        const { verdict, hooks } = trace(await live(), request);
        assert.deepEqual(
          [verdict.outcome, verdict.address, verdict.port],
          ['tunnelled', backend, 8080],
        );
        const own = agentLab.node.addresses[end];
        assert.match(
          verdict.text,
          /in a tunnel to the backend’s node, which replies to the client itself$/,
        );
        assert.ok(verdict.packet!.endsWith(`, in a tunnel from ${own} to ${backend}`));
        assert.ok(hooks[0]!.result.startsWith('encapsulated'), hooks[0]!.result);
        const meanings = hooks[0]!.steps.map((step) => 'meaning' in step && step.meaning);
        assert.ok(meanings.some((text) => `${text}`.endsWith(', tunnels to other nodes')));
        const ways = {
          ...{ source: request.from, sourcePort: port },
          ...{ destination: request.to, destinationPort: request.port },
        };
        client.send(packetOf(protocol, ways, 'first').within(eth(outside.firstHop)));
        const predicted = Packet.parse(Buffer.from(verdict.frame!, 'hex'));
        const { packet } = other.find('the tunnel', (each) =>
          `${each.packet}`.includes(`${port} >`),
        );
        // Except for the addresses of the router that it passed.
        const routed =
          end === 'v4'
            ? predicted.with('ipv4', { ttl: 62 }, 1)
            : predicted.with('ipv6', { hopLimit: 62 }, 1);
        assert.equal(`${packet}`, `${routed}`);
        const later = trace(await live(), {
          ...request,
          flow: true,
          reply: true,
        });
        assert.equal(later.verdict.outcome, 'tunnelled');
        assert.match(later.notes.join(), /backend’s node replies to the client itself/);
      }
    }
    const flows = await printed('flow', 'list', '--service', 'tunnelled');
    assert.equal(flows.match(/ itself, by dsr /g)?.length, 4, flows);
    const { flows: items } = (await agentLab.heddle('flow', 'list')) as {
      flows: { forwarding: string; source: string; client: string }[];
    };
    assert.ok(items.every((flow) => flow.forwarding === 'dsr' && flow.source === flow.client));
    assert.match(await printed('nat', 'list'), /no SNAT ports are in use/);
  });

  test('the configuration enables tunnels for all services, and an annotation excludes one', async () => {
    await agentLab.kill();
    await agentLab.start('--forwarding', 'hybrid');
    assert.deepEqual(await forwarding('plain'), ['dsr', 'snat']);
    assert.deepEqual(await forwarding('tunnelled'), ['dsr', 'dsr']);
    assert.deepEqual(await forwarding('excluded'), ['snat', 'snat']);
    const { forwarding: effective } = await agentLab.request<{ forwarding: string }>('config.get');
    assert.equal(effective, 'hybrid');
  });

  test('snat is used with a reason while tunnels are impossible', async () => {
    await agentLab.apply('nodes.yaml', nodeObject(agentLab.node));
    assert.deepEqual(await forwarding('tunnelled'), ['snat', 'snat']);
    const { name } = agentLab.lab.nodes[1]!;
    const reason = new RegExp(
      `forwarding is snat, not dsr: endpoint \\S+ is on node ${name}, which is not known`,
    );
    assert.match(await printed('service', 'list'), reason);
    assert.match(await printed('service', 'get', 'tunnelled'), reason);
    const outside = agentLab.lab.outside[0]!;
    const dump = await openDump({ socket: agentLab.socket, bpffs: agentLab.node.bpffs });
    const { verdict } = trace(dump, {
      ...{ from: outside.addresses.v4, to: agentLab.node.addresses.v4 },
      ...{ port: nodePorts.tunnelled, protocol: 'tcp' as const, sourcePort: ++port },
    });
    assert.equal(verdict.outcome, 'translated');
    await agentLab.apply('nodes.yaml', ...agentLab.lab.nodes.map(nodeObject));
    assert.deepEqual(await forwarding('tunnelled'), ['dsr', 'dsr']);
  });
});
