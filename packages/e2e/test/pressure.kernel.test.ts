// The agent reports pressure at 80 % use, here with small limits in its configuration.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { NatDestination } from '@heddle/agent';
import { parseMetrics } from '@heddle/agent/testing/metrics-text';
import { askTcp, type BlockingSocket, connectTcp, type LabHost, startBackend } from '@heddle/lab';
import { decodeUtf8 } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const metrics = { address: '127.0.0.1', port: 10_249 };

describe('an agent with few SNAT ports', () => {
  let agentLab: ManifestLab;
  let client: LabHost;
  let args: string[];
  before(async () => {
    agentLab = new ManifestLab('pressure', { nodes: 2, podsPerNode: 1, outside: 1 });
    client = agentLab.lab.outside[0]!;
    await startBackend(remote(), { echo: [8080] });
    const file = `${agentLab.folder}/../agent.yaml`;
    const text =
      'snatPorts: 2000-2004\ntimeouts: {tcpHandshake: 33}\nsizes: {services: 46, servicesMax: 46}\n';
    writeFileSync(file, text);
    args = ['--config', file, '--metrics-address', '127.0.0.1:10249'];
    await agentLab.start(...args);
    const spec = { type: 'NodePort', ports: [{ port: 80, nodePort: 30_080 }] };
    await agentLab.apply(
      'web.yaml',
      service('web', ['10.96.0.1'], spec),
      slice('web', [endpoint(remote().addresses.v4, {}, { nodeName: remote().node.name })]),
    );
  });
  after(() => agentLab?.[Symbol.dispose]());

  const remote = () => agentLab.lab.nodes[1]!.pods[0]!;
  const connect = () =>
    connectTcp(client, { address: agentLab.node.addresses.v4, port: 30_080 }, 1000);
  /** Opens a connection and confirms it from both sides, so that it keeps its SNAT port. */
  const confirmed = () => {
    const socket = connect();
    socket.send('word');
    assert.equal(decodeUtf8(socket.receive()), 'word');
    return socket;
  };
  const warnings = async () => (await agentLab.status()).warnings;
  const scrape = () => {
    const request = 'GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
    const answer = askTcp(agentLab.node, metrics, request);
    const families = parseMetrics(answer.slice(answer.indexOf('\r\n\r\n') + 4));
    return (name: string) => [...(families.get(name)?.samples ?? [])];
  };

  test('an agent reports the backend with few free SNAT ports in status, nat list and metrics', async () => {
    const open: BlockingSocket[] = [];
    try {
      assert.deepEqual(await warnings(), []);
      assert.deepEqual(scrape()('heddle_nat_ports_used'), []);
      for (let i = 0; i < 4; i++) open.push(confirmed());
      const backend = `${remote().addresses.v4}:8080`;
      const node = agentLab.node.addresses.v4;
      assert.deepEqual(await warnings(), [
        `4 of 5 ports of ${node} are taken towards TCP ${backend}, 80% (widen snatPorts, lower timeouts, or have more backends)`,
      ]);
      const found = scrape();
      assert.deepEqual(found('heddle_nat_ports_used'), [
        [`heddle_nat_ports_used{protocol="TCP",backend="${backend}",source="${node}"}`, 4],
      ]);
      assert.deepEqual(found('heddle_nat_ports'), [['heddle_nat_ports', 5]]);
      assert.deepEqual(found('heddle_nat_port_pressure'), [['heddle_nat_port_pressure', 0.8]]);
      assert.deepEqual(found('heddle_warnings'), [['heddle_warnings', 1]]);
      const { destinations } = (await agentLab.heddle('nat', 'list')) as {
        destinations: NatDestination[];
      };
      assert.deepEqual(
        destinations.map(({ used, ports, backend: address }) => [used, ports, address]),
        [[4, 5, remote().addresses.v4]],
      );
      open.push(confirmed());
      assert.throws(connect, { name: 'SysError' }, 'the next one finds none');
      const { services } = (await agentLab.heddle('service', 'get', 'web')) as {
        services: { refusals: { reason: string; count: number }[] }[];
      };
      const [refused] = services.flatMap(({ refusals }) => refusals);
      assert.equal(refused!.reason, 'all SNAT ports of this node towards the backend are in use');
      assert.ok(refused!.count > 0);
      const again = scrape();
      const labels = `namespace="default",service="web",reason="${refused!.reason}"`;
      assert.deepEqual(again('heddle_service_refused_total'), [
        [`heddle_service_refused_total{${labels}}`, refused!.count],
      ]);
      assert.deepEqual(again('heddle_connections_total'), [['heddle_connections_total', 5]]);
      // Each connection has at least its handshake and a packet in both directions.
      assert.ok(again('heddle_packets_total')[0]![1] >= 25);
      assert.ok(again('heddle_bytes_total')[0]![1] >= 25 * 54);
    } finally {
      for (const socket of open) socket[Symbol.dispose]();
    }
  });

  test('an agent reports the map that is nearly full and that its SNAT ports overlap with the kernel’s', async () => {
    // One namespace gets at most half of the frontends.
    const services = ['one', 'two'].flatMap((namespace, n) =>
      Array.from({ length: 17 }, (_, i) => {
        const made = service(`more-${i}`, [`10.96.${n + 1}.${i}`]);
        return { ...made, metadata: { ...made.metadata, namespace } };
      }),
    );
    await agentLab.apply('more.yaml', ...services);
    const full = (await warnings()).find((text) => text.startsWith('map services'));
    assert.match(full!, /^map services has 37 of 46 entries, 80% \(raise sizes\.servicesMax\)$/);
    agentLab.node.setSysctl('net/ipv4/ip_local_port_range', '2003 4000');
    const chosen = async () => (await warnings()).filter((text) => text.startsWith('snatPorts'));
    assert.match(
      (await chosen())[0]!,
      /choose 2003-2004, too, .*ip_local_reserved_ports=2003-2004/,
    );
    agentLab.node.setSysctl('net/ipv4/ip_local_reserved_ports', '2003-2004');
    assert.deepEqual(await chosen(), []);
  });

  test('logs the overlap of SNAT ports when it starts', async () => {
    agentLab.node.setSysctl('net/ipv4/ip_local_reserved_ports', 2003);
    await agentLab.kill();
    await agentLab.start(...args);
    const { items } = await agentLab.request<{ items: { kind: string; message: string }[] }>(
      'events.list',
    );
    const messages = items.filter(({ kind }) => kind === 'problem').map(({ message }) => message);
    assert.ok(
      messages.some((message) => /^snatPorts 2000-2004: .* choose 2004-2004, too/.test(message)),
      `${messages}`,
    );
    const { timeouts, snatPorts } = await agentLab.request<{
      timeouts: { tcpHandshake: number; udp: number };
      snatPorts: string;
    }>('config.get');
    assert.deepEqual([timeouts.tcpHandshake, timeouts.udp, snatPorts], [33, 300, '2000-2004']);
  });
});
