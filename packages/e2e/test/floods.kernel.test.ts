import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BlockingSocket,
  connectTcp,
  eth,
  startBackend,
  startHttpClient,
  Tap,
} from '@heddle/lab';
import { decodeUtf8, errno, SysError } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
type IpVersion = (typeof ipVersions)[number];
/** The capacity of the flow table, which a flood exhausts within half a second. */
const room = 4096;
const packetsPerSecond = 10_000;
/** The number of clients: a hundred for each family. */
const connections = 200;
/** The longest duration of the flood, if clients have to wait. */
const timeoutMs = 12_000;
/** The NodePorts of an HTTP service, an echo service and two UDP services, of which one replies. */
const ports = { http: 30_080, echo: 30_081, udp: 30_053, silent: 30_054 } as const;

/** Sends a frame unless the queue is full, so that a busy machine gets a smaller flood. */
function send(tap: Tap, frame: Uint8Array): void {
  try {
    tap.send(frame);
  } catch (error) {
    if (!(error instanceof SysError && error.errno === errno.ENOBUFS)) throw error;
  }
}

describe('floods of spoofed external packets', () => {
  let agentLab: ManifestLab;
  before(async () => {
    agentLab = new ManifestLab('floods', { nodes: 2, podsPerNode: 1, outside: 1 });
    const { lab } = agentLab;
    const served = { http: [8080], echo: [8081], udp: [8053] };
    await Promise.all(lab.pods.map((pod) => startBackend(pod, served)));
    await agentLab.start('--max-flows', `${room}`);
    const names = [
      { name: 'http', port: 80, nodePort: ports.http, targetPort: 8080 },
      { name: 'echo', port: 81, nodePort: ports.echo, targetPort: 8081 },
      { name: 'udp', port: 53, protocol: 'UDP', nodePort: ports.udp, targetPort: 8053 },
      { name: 'silent', port: 54, protocol: 'UDP', nodePort: ports.silent, targetPort: 8053 },
    ];
    await agentLab.apply(
      'web.yaml',
      service('web', ['10.96.0.1', 'fd00:96::1'], {
        type: 'NodePort',
        ipFamilyPolicy: 'RequireDualStack',
        ports: names,
      }),
      ...ipVersions.map((end) =>
        slice(
          'web',
          lab.pods.map((pod) => endpoint(pod.addresses[end], {}, { nodeName: pod.node.name })),
          {
            name: `web-${end}`,
            ports: [
              { name: 'http', port: 8080 },
              { name: 'echo', port: 8081 },
              { name: 'udp', protocol: 'UDP', port: 8053 },
              { name: 'silent', protocol: 'UDP', port: 9 },
            ],
          },
        ),
      ),
    );
  });
  after(() => agentLab?.[Symbol.dispose]());

  /** Returns the n-th packet of the flood, with a source address that no host has. */
  const spoofed = (end: IpVersion, n: number, what: 'syn' | 'udp' | 'silent') => {
    const { underlay } = agentLab.lab;
    const src = underlay.link('port1').address;
    const dst = agentLab.node.link('eth0').address;
    const low = Math.imul(n, 40_503) & 0xffff;
    const frame = eth({ src, dst });
    const to = agentLab.node.addresses[end];
    const ip =
      end === 'v4'
        ? frame.ipv4({ src: `198.18.${low >> 8}.${low & 255}`, dst: to })
        : frame.ipv6({ src: `fd00:198:18::${low.toString(16)}`, dst: to });
    const sport = 1024 + ((n * 7) % 60_000);
    return what === 'syn'
      ? ip.tcp({ sport, dport: ports.http, syn: true, seq: n, options: { mss: 1400 } }).bytes
      : ip.udp({ sport, dport: ports[what] }).payload('question').bytes;
  };
  const exchange = (socket: BlockingSocket, word: string) => {
    socket.send(word);
    assert.equal(decodeUtf8(socket.receive()), word);
  };

  const distinct = ['syn', 'udp', 'silent'] as const;
  test(`${packetsPerSecond} spoofed SYNs and datagrams per second keep no client from any service`, async () => {
    const { lab, node } = agentLab;
    const [client] = lab.outside;
    const frames = Array.from({ length: 3 * room }, (_, n) =>
      spoofed(ipVersions[(n >> 1) % 2]!, n, distinct[n % 3]!),
    );
    using tap = Tap.open(lab.underlay, 'port1', 'nothing');
    const to = (end: IpVersion) => ({ address: node.addresses[end], port: ports.echo });
    const sockets = ipVersions.flatMap((end) => [
      connectTcp(client!, to(end)),
      connectTcp(client!, to(end)),
    ]);
    try {
      for (const [i, socket] of sockets.entries()) exchange(socket, `before ${i}`);
      const busy = sockets.filter((_, i) => i % 2 === 0);
      let sent = 0;
      const started = performance.now();
      const flood = async (until: number) => {
        while (performance.now() - started < until) {
          const due = ((performance.now() - started) * packetsPerSecond) / 1000;
          // A busy machine that is late doesn't send all missing packets at once.
          for (let i = 0; sent < due && i < 200; i++) send(tap, frames[sent++ % frames.length]!);
          for (const socket of busy) exchange(socket, `during ${sent}`);
          await sleep(5);
        }
      };
      // The table is full when the clients start.
      await flood(1000);
      const requestCounts = { v4: 0, v6: 0 };
      const run = startHttpClient(client!, {
        ...{ rate: 25, timeoutMs: 5000, reportMs: 200 },
        onReport: ({ type, targets }) => {
          if (type === 'window')
            for (const end of ipVersions) requestCounts[end] += targets[end]!.requests;
        },
        targets: Object.fromEntries(
          ipVersions.map((end) => {
            const address = node.addresses[end];
            return [
              end,
              [end === 'v4' ? `${address}:${ports.http}` : `[${address}]:${ports.http}`],
            ];
          }),
        ),
      });
      const each = connections / ipVersions.length;
      while (
        Math.min(requestCounts.v4, requestCounts.v6) < each &&
        performance.now() - started < timeoutMs
      ) {
        await flood(performance.now() - started + 100);
      }
      const { targets } = await run.stop();
      for (const end of ipVersions) {
        assert.deepEqual(targets[end]!.failures, {}, end);
        assert.ok(targets[end]!.requests >= each, `${targets[end]!.requests} requests of ${end}`);
      }
      assert.ok(sent > 2 * room, `${sent} spoofed packets`);
      const { nat } = (await agentLab.status()).datapath;
      assert.ok(nat.flows <= nat.maxFlows, `${nat.flows} of ${nat.maxFlows}`);
      // This includes connections that were idle meanwhile.
      for (const [i, socket] of sockets.entries()) exchange(socket, `after ${i}`);
      for (const end of ipVersions) {
        using again = connectTcp(client!, to(end));
        exchange(again, 'after the flood');
      }
    } finally {
      for (const socket of sockets) socket[Symbol.dispose]();
    }
  });
});
