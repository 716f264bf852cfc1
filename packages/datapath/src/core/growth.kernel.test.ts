import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { BpfMap } from '@heddle/ebpf';
import { startBackend, startHttpClient } from '@heddle/lab';
import type { ServiceRow } from '@heddle/services';
import { eventually } from '@heddle/sys/testing/eventually';
import { NodePackets } from '../../testing/node-packets.ts';
import { row } from '../../testing/rows.ts';
import { at } from '../../testing/sockets/sockets.ts';
import { sizes, World } from '../../testing/world.ts';
import { currentPins } from './pinned-maps.ts';

const small = { ...sizes, services: 64, servicesMax: 2000, backends: 4000, flows: 20_000 };

for (const xdp of ['off', 'generic'] as const) {
  describe(`growth of the map of frontends, XDP ${xdp}`, () => {
    let world: World;
    before(() => {
      world = new World(`growth-${xdp}`, 2, { sizes: small, xdp });
      world.serveOutside();
    });
    after(() => world?.[Symbol.dispose]());

    const numbered = (first: number, count: number): ServiceRow[] =>
      Array.from({ length: count }, (_, i) => {
        const n = first + i;
        const address = n % 2 ? `10.97.${n >> 8}.${n & 255}` : `fd00:97::${n.toString(16)}`;
        const end = n % 2 ? 'v4' : 'v6';
        return row([{ address, port: 80 }], [{ address: world.pod(1).addresses[end], port: 8080 }]);
      });
    const update = (...rows: ServiceRow[]) =>
      world.node.enter(() => {
        for (const error of world.datapath.services.update(rows)) if (error) throw error;
      });
    const size = () => {
      using map = BpfMap.openPinned(world.bpf, `${currentPins(world.node.bpffs).maps}/services`);
      return map.info.maxEntries;
    };

    test('the map grows while old and new connections work at sockets and interfaces', () => {
      const [client, server] = [world.pod(0), world.pod(1)];
      using listener4 = world.listener(server, 4, 8080);
      using listener6 = world.listener(server, 6, 8080);
      using receiver = world.receiver(server, 4, 5300);
      const packets = new NodePackets(world, 'v4');
      const nodePort = { address: packets.node, port: 30_080, kind: 'NodePort' as const };
      const udp = row(
        [{ address: '10.96.0.53', port: 53 }],
        [{ address: server.addresses.v4, port: 5300 }],
        { protocol: 'UDP' },
      );
      update(
        row([{ address: '10.96.0.10', port: 80 }], [{ address: server.addresses.v4, port: 8080 }]),
        row([{ address: 'fd00:96::10', port: 80 }], [{ address: server.addresses.v6, port: 8080 }]),
        row([nodePort], [{ address: server.addresses.v4, port: 8080 }]),
        udp,
      );
      using open = world.socket(client, 4, 'tcp');
      assert.equal(open.connect('10.96.0.10', 80), 'ok');
      using accepted = listener4.accept();
      using datagrams = world.socket(client, 4, 'udp');
      const syn = (sport: number) => {
        const made = packets
          .from('192.0.2.99', packets.node)
          .tcp({ sport, dport: 30_080, syn: true, seq: 1 });
        return packets.ingress(made).verdict;
      };
      assert.equal(syn(20_000), 'send');
      const sizesSeen = new Set([size()]);
      let sport = 20_001;
      for (let n = 0; n < 1800; n += 60) {
        update(...numbered(n, 60));
        sizesSeen.add(size());
        assert.equal(open.send('on'), 'ok');
        assert.equal(accepted.receive().text, 'on');
        assert.equal(open.peerName(), at('10.96.0.10', 80));
        assert.equal(datagrams.send('on', { address: '10.96.0.53', port: 53 }), 'ok');
        assert.equal(receiver.receive().text, 'on');
        for (const [family, address, listener] of [
          [4, '10.96.0.10', listener4],
          [6, 'fd00:96::10', listener6],
          [4, `10.97.${(n + 59) >> 8}.${(n + 59) & 255}`, listener4],
          [6, `fd00:97::${(n + 58).toString(16)}`, listener6],
        ] as const) {
          using next = world.socket(client, family, 'tcp');
          assert.equal(next.connect(address, 80), 'ok', `${address} after ${n}`);
          using _accepted = listener.accept();
        }
        assert.equal(syn(sport++), 'send');
      }
      assert.deepEqual([...sizesSeen], [64, 128, 256, 512, 1024, 2048, 2250]);
      world.node.enter(() => {
        assert.deepEqual(world.datapath.integrity.checkAttachments(), []);
        for (let i = 0; i < world.datapath.integrity.mapCount; i++) {
          assert.deepEqual(world.datapath.integrity.auditNext(), []);
        }
      });
    });

    test('a new agent keeps the size of a map that has grown', () => {
      const before = size();
      world.restart();
      world.serveOutside();
      assert.equal(size(), before);
      assert.deepEqual(world.datapath.status().migrated, []);
      const { entries, maxEntries } = world.datapath
        .status()
        .maps.find(({ name }) => name === 'services')!;
      assert.deepEqual([entries, maxEntries], [1804, 2000]);
    });

    test('at its largest size the map is full, and rows without room name the setting to raise', () => {
      const rows = numbered(1800, 600);
      const errors = world.node.enter(() => world.datapath.services.update(rows));
      const failed = errors.filter((error) => error !== undefined);
      assert.equal(size(), 2250, 'an eighth more than may be programmed');
      assert.equal(failed.length, 1804 + 600 - 2250);
      assert.equal(
        failed[0]!.message,
        'write map services: full with 2250 entries (raise sizes.servicesMax)',
      );
    });
  });
}

test('no request fails while the map grows, neither at sockets nor at interfaces', async () => {
  using world = new World('growth-load', 2, { sizes: small, lab: { podsPerNode: 2, outside: 1 } });
  world.serveOutside();
  const [client, server] = [world.pod(0), world.pod(1)];
  const outside = world.lab.outside[0]!;
  const { v4: node } = world.node.addresses;
  world.apply(
    row(
      [
        { address: '10.96.0.10', port: 80 },
        { address: node, port: 30_080, kind: 'NodePort' },
      ],
      [{ address: server.addresses.v4, port: 8080 }],
    ),
  );
  await startBackend(server, { http: [8080] });
  let reports = 0;
  const load = [
    startHttpClient(client, {
      ...{ targets: { web: ['10.96.0.10:80'] }, rate: 500, reportMs: 50 },
      onReport: () => reports++,
    }),
    startHttpClient(outside, { targets: { web: [`${node}:30080`] }, rate: 200, reportMs: 50 }),
  ];
  await Promise.all(load.map(({ started }) => started));
  for (let n = 0; n < 1800; n += 100) {
    world.node.enter(() => {
      const rows = Array.from({ length: 100 }, (_, i) =>
        row([{ address: `10.98.${(n + i) >> 8}.${(n + i) & 255}`, port: 80 }], []),
      );
      for (const error of world.datapath.services.update(rows)) if (error) throw error;
    });
    // Some requests are made with each of the maps.
    const seen = reports;
    await eventually('the client reports twice', () => reports >= seen + 2);
  }
  for (const each of load) {
    const { web } = (await each.stop()).targets;
    assert.deepEqual([web!.failed, web!.failures], [0, {}]);
    assert.ok(web!.requests > 100, `${web!.requests}`);
  }
  const { maps } = world.datapath.status();
  assert.ok(maps.find(({ name }) => name === 'services')!.entries > 1800);
});
