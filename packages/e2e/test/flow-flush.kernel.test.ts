import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import type { FlowItem } from '@heddle/agent';
import { heddle, startHeddle } from '@heddle/cli/testing/heddle';
import { Terminal } from '@heddle/demo/testing/terminal';
import {
  type BlockingSocket,
  connectTcp,
  connectUdp,
  type LabHost,
  startBackend,
} from '@heddle/lab';
import { decodeUtf8, SysError } from '@heddle/sys';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { endpoint, service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
/**
 * The NodePorts of TCP and UDP. The backend of `near` is on the node that packets enter, that of
 * `far` on the other node.
 */
const services = { near: 30_081, far: 30_082, both: 30_083 } as const;
type Name = keyof typeof services;

describe('heddle flow flush', () => {
  let agentLab: ManifestLab;
  let clients: readonly [LabHost, LabHost];
  before(async () => {
    agentLab = new ManifestLab('flow-flush', { nodes: 2, podsPerNode: 1, outside: 2 });
    const { lab } = agentLab;
    clients = [lab.outside[0]!, lab.outside[1]!];
    await Promise.all(lab.pods.map((pod) => startBackend(pod, { echo: [8080], udp: [8080] })));
    await agentLab.start();
    const pods = { near: [0], far: [1], both: [0, 1] };
    for (const [i, name] of (['near', 'far', 'both'] as const).entries()) {
      await agentLab.apply(
        `${name}.yaml`,
        service(name, [`10.96.0.${i + 1}`, `fd00:96::${i + 1}`], {
          type: 'NodePort',
          ipFamilyPolicy: 'RequireDualStack',
          ports: [
            { name: 'tcp', port: 80, nodePort: services[name] },
            { name: 'udp', port: 80, protocol: 'UDP', nodePort: services[name] },
          ],
        }),
        ...ipVersions.map((end) =>
          slice(
            name,
            pods[name].map((n) => endpoint(lab.pods[n]!.addresses[end])),
            {
              name: `${name}-${end}`,
              ports: [
                { name: 'tcp', port: 8080 },
                { name: 'udp', protocol: 'UDP', port: 8080 },
              ],
            },
          ),
        ),
      );
    }
  });
  after(() => agentLab?.[Symbol.dispose]());

  const flush = (...args: string[]) => agentLab.heddle('flow', 'flush', ...args);
  const flows = async (...args: string[]) =>
    ((await agentLab.heddle('flow', 'list', ...args)) as { flows: FlowItem[] }).flows;
  const to = (name: Name, end: 'v4' | 'v6') => ({
    address: agentLab.node.addresses[end],
    port: services[name],
  });
  const exchange = (socket: BlockingSocket, text: string) => {
    socket.send(text);
    return decodeUtf8(socket.receive());
  };
  const fails = (args: string[], what: RegExp) =>
    heddle(['flow', 'flush', ...args, '--socket', agentLab.socket]).then(({ code, stderr }) => {
      assert.match(stderr, what);
      return code;
    });

  for (const name of ['near', 'far'] as const) {
    test(`an ended TCP connection gets a reset and the others continue: backend ${name}`, async () => {
      const open: BlockingSocket[] = [];
      try {
        for (const end of ipVersions) {
          const pair = clients.map((client) => connectTcp(client, to(name, end)));
          open.push(...pair);
          const [ended, other] = pair as [BlockingSocket, BlockingSocket];
          for (const socket of pair) assert.equal(exchange(socket, 'before'), 'before');
          const filters = ['--client', clients[0].addresses[end], '--service', name];
          assert.deepEqual(await flush(...filters, '--dry-run'), {
            ...{ matched: 1, ended: 0, dryRun: true },
          });
          assert.equal(exchange(ended, 'a dry run ends nothing'), 'a dry run ends nothing');
          assert.deepEqual(await flush(...filters), { matched: 1, ended: 1, dryRun: false });
          assert.deepEqual(await flows(...filters), []);
          assert.throws(
            () => exchange(ended, 'after'),
            (error) => error instanceof SysError && error.code === 'ECONNRESET',
          );
          assert.equal(exchange(other, 'after'), 'after');
          using again = connectTcp(clients[0], to(name, end));
          assert.equal(exchange(again, 'a new one'), 'a new one');
        }
      } finally {
        for (const socket of open) socket[Symbol.dispose]();
      }
    });
  }

  test('a UDP client whose flow is ended gets a backend again', async () => {
    for (const end of ipVersions) {
      using socket = connectUdp(clients[0], to('both', end));
      const answerer = () => exchange(socket, 'who?').split(' ')[0]!;
      const first = answerer();
      for (let i = 0; i < 20; i++) assert.equal(answerer(), first, 'the flow keeps its backend');
      const names = new Set([first]);
      for (let i = 0; i < 30 && names.size === 1; i++) {
        const count = await flush('--protocol', 'udp', '--client', clients[0].addresses[end]);
        assert.deepEqual(count, { matched: 1, ended: 1, dryRun: false });
        names.add(answerer());
      }
      assert.equal(names.size, 2, `only ${first} ever answered`);
    }
  });

  test('all flows end with --yes or after confirmation, and their entries are freed', async () => {
    const open = ipVersions.flatMap((end) =>
      clients.map((from) => connectTcp(from, to('far', end))),
    );
    try {
      assert.ok((await flows()).length >= open.length);
      const args = ['flow', 'flush', '--socket', agentLab.socket];
      assert.equal(await fails([], /without a filter this ends all flows.*--yes/), 2);
      using terminal = new Terminal(agentLab.platform, 200, 24);
      const stdio = [terminal.slave, 'ignore', terminal.slave] as const;
      const answered = async (text: string) => {
        const before = terminal.output.length;
        const child = startHeddle(args, { stdio: [...stdio] });
        const gone = once(child, 'exit');
        await agentLab.until('the question', () => terminal.output.slice(before).includes('[y/N]'));
        terminal.type(text);
        return (await gone)[0];
      };
      assert.equal(await answered('\n'), 1);
      assert.match(terminal.output, /End all \d+ flows\? Their TCP connections break\./);
      assert.match(terminal.output, /nothing was ended/);
      assert.equal(await answered('\x04'), 1, 'the end of the input means no');
      for (const socket of open) assert.equal(exchange(socket, 'there'), 'there');
      assert.equal(await answered('y\n'), 0);
      assert.deepEqual(await flows(), []);
      assert.deepEqual(await flush('--yes'), { matched: 0, ended: 0, dryRun: false });
      await agentLab.until('the entries to be free', async () => {
        const { nat } = (await agentLab.status()).datapath;
        return nat.flows === 0 && nat.unanswered === 0;
      });
    } finally {
      for (const socket of open) socket[Symbol.dispose]();
    }
  });

  test('a filter that can match no flow is an error that lists the possible values', async () => {
    assert.equal(
      await fails(['--client', 'localhost'], /client localhost is not an IP address/),
      1,
    );
    assert.equal(await fails(['--backend', '1.2.3'], /backend 1\.2\.3 is not an IP address/), 1);
    assert.equal(
      await fails(['--protocol', 'igmp'], /protocol igmp.*\(use TCP, UDP, SCTP, ICMP\)/),
      1,
    );
    assert.equal(await fails(['--state', 'gone'], /has state gone \(use syn, /), 1);
    assert.equal(
      await fails(
        ['--protocol', 'udp', '--state', 'established'],
        /no UDP flow has state established \(use unanswered, answered/,
      ),
      1,
    );
    assert.equal(await fails(['-s', 'web'], /no service default\/web \(heddle service list/), 1);
  });
});
