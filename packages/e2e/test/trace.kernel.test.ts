// Compares the predictions of `heddle trace` with the kernel.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { elsewhere, heddle, root } from '@heddle/cli/testing/heddle';
import {
  decodeCtBucket,
  decodeCtTable,
  keyOfSlot,
  type MapName,
  placeOfKey,
} from '@heddle/datapath';
import { type Dump, entriesOf, mapNamed, readDump, type Trace, trace } from '@heddle/inspect';
import { openDump } from '@heddle/inspect/open';
import { askTcp, askUdp, BlockingSocket, type LabHost, startBackend } from '@heddle/lab';
import { SysError } from '@heddle/sys';
import type { SocketAddress } from '@heddle/sys/net';
import { ManifestLab } from '../testing/manifest-lab.ts';
import { service, slice } from '../testing/objects.ts';

const ipVersions = ['v4', 'v6'] as const;
type IpVersion = (typeof ipVersions)[number];
const nodePort = 30_380;
const unused = 9;

/** The last parts of service addresses, by purpose. */
const addresses = {
  one: { v4: '10.96.7.1', v6: 'fd00:96::71' },
  none: { v4: '10.96.7.2', v6: 'fd00:96::72' },
  many: { v4: '10.96.7.3', v6: 'fd00:96::73' },
  sticky: { v4: '10.96.7.4', v6: 'fd00:96::74' },
  ranged: { v4: '10.96.7.5', v6: 'fd00:96::75' },
} as const;
const balancers = { v4: '198.51.100.7', v6: 'fd00:198:51:100::7' } as const;

describe('heddle trace predicts what the kernel does', () => {
  let agentLab: ManifestLab;
  let client: LabHost;
  let outside: LabHost;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-trace-'));
    agentLab = new ManifestLab('trace', { nodes: 2, podsPerNode: 3, outside: 1 });
    const { lab } = agentLab;
    client = agentLab.pod(0);
    outside = lab.outside[0]!;
    const [, ...pods] = lab.pods;
    await Promise.all(pods.map((pod) => startBackend(pod, { tcp: [8080], udp: [8080] })));
    // Pods are found by their processes.
    client.spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'], { stdio: 'ignore' });
    await agentLab.start();
    const ports = [
      { name: 'tcp', port: 80, targetPort: 8080 },
      { name: 'udp', port: 80, protocol: 'UDP', targetPort: 8080 },
    ];
    const dual = (
      name: keyof typeof addresses,
      spec: object = {},
      more: Readonly<Record<string, unknown>> = {},
    ) =>
      service(
        name,
        [addresses[name].v4, addresses[name].v6],
        { ...{ ipFamilyPolicy: 'RequireDualStack', ports }, ...spec },
        more,
      );
    const slices = (name: string, ...numbers: number[]) =>
      ipVersions.map((end) =>
        slice(
          name,
          numbers.map((number) => lab.pods[number]!.addresses[end]),
          {
            name: `${name}-${end}`,
            ports: [
              { name: 'tcp', port: 8080 },
              { name: 'udp', protocol: 'UDP', port: 8080 },
            ],
          },
        ),
      );
    await agentLab.apply(
      'services.yaml',
      dual('one', {
        type: 'NodePort',
        ports: ports.map((each) => ({ ...each, nodePort })),
      }),
      ...slices('one', 4),
      dual('none', {
        type: 'NodePort',
        ports: ports.map((each) => ({ ...each, nodePort: nodePort + 1 })),
      }),
      dual('many'),
      ...slices('many', 1, 2, 4),
      dual('sticky', { sessionAffinity: 'ClientIP' }),
      ...slices('sticky', 1, 2, 4),
      dual(
        'ranged',
        {
          type: 'LoadBalancer',
          loadBalancerSourceRanges: ipVersions.map(
            (end) => `${client.addresses[end]}/${end === 'v4' ? 32 : 128}`,
          ),
        },
        {
          status: { loadBalancer: { ingress: ipVersions.map((end) => ({ ip: balancers[end] })) } },
        },
      ),
      ...slices('ranged', 4),
    );
  });
  after(() => {
    agentLab?.[Symbol.dispose]();
    if (folder) rmSync(folder, { recursive: true });
  });

  async function traced(
    from: string,
    to: string,
    port: number,
    protocol: 'tcp' | 'udp' = 'tcp',
    reply = false,
  ): Promise<Trace> {
    const dump = await openDump({ socket: agentLab.socket, bpffs: agentLab.node.bpffs });
    return trace(dump, { from, to, port, protocol, reply });
  }

  /** Returns the pod that a trace ends at, or the errno, or the outcome. */
  function predictedResult({ verdict }: Trace): string {
    if (verdict.outcome === 'refused') return verdict.errno!;
    // A reset and an ICMP port error both give ECONNREFUSED.
    if (verdict.outcome === 'rejected') return 'ECONNREFUSED';
    if (verdict.address === undefined) return verdict.outcome;
    const pod = agentLab.lab.pods.find(({ addresses: own }) =>
      ipVersions.some((end) => own[end] === verdict.address),
    );
    return verdict.port === 8080 && pod ? pod.name : `${verdict.address} ${verdict.port}`;
  }

  /** Returns the pod that replies, or the errno. */
  function seen(from: LabHost, protocol: 'tcp' | 'udp', address: string, port: number): string {
    try {
      const ask = protocol === 'tcp' ? askTcp : askUdp;
      return ask(from, { address, port }, 'who?', 5000).split(' ')[0]!;
    } catch (error) {
      if (error instanceof SysError) return error.code;
      throw error;
    }
  }

  /** Sends one datagram on an unconnected socket. Throws SysError. */
  function sendAlone(from: LabHost, to: SocketAddress): void {
    const family = to.address.includes(':') ? 6 : 4;
    using socket = from.enter(() =>
      BlockingSocket.open(from.platform, { protocol: 'udp', family }),
    );
    socket.send('who?', to);
  }

  const of = (place: LabHost, end: IpVersion) => place.addresses[end];

  for (const end of ipVersions) {
    for (const protocol of ['tcp', 'udp'] as const) {
      test(`a socket call to a service with one backend, ${protocol} ${end}`, async () => {
        const found = await traced(of(client, end), addresses.one[end], 80, protocol);
        const { name } = agentLab.lab.pods[4]!;
        assert.equal(found.verdict.outcome, 'translated');
        assert.equal(found.verdict.alternatives, undefined);
        assert.equal(predictedResult(found), name);
        assert.equal(seen(client, protocol, addresses.one[end], 80), name);
        const [hook] = found.hooks;
        const call = protocol === 'tcp' ? 'connect' : 'sendmsg';
        assert.equal(hook!.hook, `${call}${end === 'v4' ? 4 : 6}`);
        assert.equal(hook!.same, true, 'the attached program is the object’s');
        assert.deepEqual(found.notes, []);
      });

      test(`the peer address that a socket observes, ${protocol} ${end}`, async () => {
        const address = addresses.one[end];
        const to = { address, port: 80 };
        const pod = agentLab.lab.pods[4]!.addresses[end];
        for (const [destination, outcome] of [
          [to, 'translated'],
          [{ address: pod, port: 8080 }, 'passed'],
        ] as const) {
          const found = await traced(
            of(client, end),
            destination.address,
            destination.port,
            protocol,
            true,
          );
          const { verdict, hooks } = found;
          const family = end === 'v4' ? 4 : 6;
          const calls = protocol === 'tcp' ? ['connect', 'getpeername'] : ['sendmsg', 'recvmsg'];
          assert.deepEqual(
            hooks.map(({ hook }) => hook),
            calls.map((call) => `${call}${family}`),
          );
          assert.equal(verdict.outcome, outcome);
          using socket = client.enter(() =>
            BlockingSocket.open(client.platform, { protocol, family }),
          );
          if (protocol === 'tcp') socket.connect(destination);
          else socket.send('who?', destination);
          const peer = protocol === 'tcp' ? socket.peerAddress : socket.receiveFrom().from;
          assert.deepEqual({ address: verdict.address, port: verdict.port }, peer);
          assert.deepEqual(peer, destination);
        }
        const refused = await traced(of(client, end), addresses.none[end], 80, protocol, true);
        const { at } = refused.question;
        assert.deepEqual(
          [at, predictedResult(refused)],
          ['socket', 'ECONNREFUSED'],
          refused.verdict.text,
        );
        assert.equal(refused.hooks.length, 1);
      });

      test(`a socket call without a backend and to an unknown port, ${protocol} ${end}`, async () => {
        for (const [address, port, reason] of [
          [addresses.none[end], 80, 'REFUSED_NO_BACKEND'],
          [addresses.one[end], unused, 'REFUSED_UNKNOWN_PORT'],
        ] as const) {
          const found = await traced(of(client, end), address, port, protocol);
          assert.equal(found.verdict.reason?.name, reason);
          assert.equal(predictedResult(found), 'ECONNREFUSED');
          // connect() of a UDP socket succeeds there; the trace predicts sendmsg().
          const call = () =>
            protocol === 'tcp'
              ? askTcp(client, { address, port }, 'who?')
              : sendAlone(client, { address, port });
          assert.throws(call, { code: 'ECONNREFUSED' });
        }
      });

      test(`a socket call with random choice and affinity, ${protocol} ${end}`, async () => {
        const many = await traced(of(client, end), addresses.many[end], 80, protocol);
        const { verdict } = many;
        const possible = [verdict, ...verdict.alternatives!].map(({ address }) => address!);
        const pods = [1, 2, 4].map((number) => of(agentLab.lab.pods[number]!, end));
        assert.deepEqual(possible.toSorted(), pods.toSorted());
        const mine = seen(client, protocol, addresses.sticky[end], 80);
        // Affinity keeps the choice: the prediction holds three more times.
        const found = await traced(of(client, end), addresses.sticky[end], 80, protocol);
        assert.equal(found.verdict.alternatives, undefined);
        assert.equal(predictedResult(found), mine);
        assert.ok(
          found.hooks[0]!.steps.some(
            (step) => step.kind === 'entry' && /^this client had backend/.test(step.meaning ?? ''),
          ),
        );
        for (let i = 0; i < 3; i++) {
          assert.equal(seen(client, protocol, addresses.sticky[end], 80), mine);
        }
      });

      test(`a socket call to a pod’s own address and to a NodePort, ${protocol} ${end}`, async () => {
        const pod = agentLab.lab.pods[2]!;
        const direct = await traced(of(client, end), of(pod, end), 8080, protocol);
        assert.equal(direct.verdict.outcome, 'passed');
        assert.equal(predictedResult(direct), pod.name);
        assert.equal(seen(client, protocol, of(pod, end), 8080), pod.name);
        const port = await traced(of(client, end), of(agentLab.node, end), nodePort, protocol);
        assert.equal(predictedResult(port), agentLab.lab.pods[4]!.name);
        assert.equal(
          seen(client, protocol, of(agentLab.node, end), nodePort),
          agentLab.lab.pods[4]!.name,
        );
      });

      test(`a socket call to a load balancer with source ranges, ${protocol} ${end}`, async () => {
        const { name } = agentLab.lab.pods[4]!;
        for (const [from, expected] of [
          [client, name],
          [agentLab.lab.pods[1]!, 'EPERM'],
          [agentLab.node, 'EPERM'],
        ] as const) {
          const found = await traced(of(from, end), balancers[end], 80, protocol);
          assert.equal(predictedResult(found), expected, found.verdict.text);
          assert.equal(seen(from, protocol, balancers[end], 80), expected, from.name);
          const reason = expected === name ? undefined : 'REFUSED_SOURCE_RANGE';
          assert.equal(found.verdict.reason?.name, reason);
          const judged = `the client ${of(from, end)} (loadBalancerSourceRanges)`;
          assert.ok(
            found.hooks[0]!.steps.some(
              (step) => step.kind === 'entry' && step.meaning?.endsWith(judged),
            ),
            judged,
          );
        }
      });

      test(`an external packet to a NodePort, ${protocol} ${end}`, async () => {
        const to = of(agentLab.node, end);
        const found = await traced(of(outside, end), to, nodePort, protocol);
        assert.equal(found.verdict.outcome, 'translated');
        assert.equal(found.hooks[0]!.hook, 'node_ingress@eth0');
        assert.equal(found.hooks[0]!.same, true);
        const { name } = agentLab.lab.pods[4]!;
        assert.equal(predictedResult(found), name);
        assert.equal(seen(outside, protocol, to, nodePort), name);
        // The pod is on another node and observes this node's address.
        assert.ok(found.verdict.packet?.includes(` from ${to.includes(':') ? `[${to}]` : to}:`));

        const none = await traced(of(outside, end), to, nodePort + 1, protocol);
        assert.equal(none.verdict.outcome, 'rejected');
        assert.equal(none.verdict.reason!.name, 'DROP_NO_BACKEND');
        assert.equal(seen(outside, protocol, to, nodePort + 1), 'ECONNREFUSED');

        // The node's stack replies at ports without a service.
        const own = await traced(of(outside, end), to, unused, protocol);
        assert.equal(own.verdict.outcome, 'passed');
        assert.equal(seen(outside, protocol, to, unused), 'ECONNREFUSED');
      });
    }
  }

  test('a trace changes no counters, affinity or flows', async () => {
    const state = async () => {
      const { refusals, drops, datapath } = await agentLab.status();
      const { backends } = (await agentLab.heddle('backend', 'list')) as { backends: unknown };
      // Closed flows are collected meanwhile.
      const maps = datapath.maps.filter(({ name }) => name !== 'nat_flows');
      return { same: { refusals, drops, maps, backends }, flows: datapath.nat.flows };
    };
    const before = await state();
    for (const [from, to, port] of [
      [of(client, 'v4'), addresses.sticky.v4, 80],
      [of(agentLab.pod(1), 'v4'), addresses.sticky.v4, 80],
      [of(client, 'v4'), addresses.none.v4, 80],
      [of(outside, 'v4'), of(agentLab.node, 'v4'), nodePort],
      [of(outside, 'v4'), of(agentLab.node, 'v4'), nodePort + 1],
    ] as const) {
      await traced(from, to, port);
    }
    const now = await state();
    assert.deepEqual(now.same, before.same);
    assert.ok(now.flows <= before.flows);
  });

  test('a trace from a dump has the same result without root, also with source lines', async () => {
    const file = join(folder, 'node.dump');
    await agentLab.heddle('dump', file);
    const ask = ['--from', client.name, '--to', 'default/one', '--port', '80'];
    const live = (await agentLab.heddle('trace', ...ask)) as Trace;
    const { chmodSync } = await import('node:fs');
    chmodSync(folder, 0o755);
    chmodSync(file, 0o644);
    const args = ['trace', ...ask, '--from-dump', file];
    const saved = await heddle([...args, '-o', 'json'], { uid: 65534 });
    assert.deepEqual([saved.code, saved.stderr], [0, '']);
    const fromDump = JSON.parse(saved.stdout) as Trace;
    assert.deepEqual([fromDump.hooks, fromDump.verdict], [live.hooks, live.verdict]);
    assert.deepEqual([fromDump.hooks[0]!.same, fromDump.notes], [true, []]);
    const without = await heddle([...args, '-o', 'json'], { env: elsewhere });
    assert.deepEqual([without.stdout, without.stderr], [saved.stdout, ''], 'and without Linux');
    const { stdout } = await heddle(args);
    assert.match(stdout, /^a socket of 10\.244\.1\.1 \(.*pod-1-1.*\) to 10\.96\.7\.1:80, TCP$/m);
    assert.match(stdout, /^connect4 \(program \d+, tag [0-9a-f]{16}, as in the object\)$/m);
    assert.match(stdout, /^ {2}10\.96\.7\.1:80\/TCP is a port of service default\/one: 1 slot /m);
    assert.match(stdout, /^verdict: translated; the socket sends to 10\.244\.2\.2:8080$/m);
    const lines = await heddle([...args, '--step']);
    assert.match(
      lines.stdout,
      /^ {2}socket\/common\.h:\d+: \*service = bpf_map_lookup_elem\(&services, key\);$/m,
    );
    assert.ok(lines.stdout.split('\n').length > 40);
  });

  test('a dump lacks the secret of the flow table, and flows are found in it', async () => {
    for (const end of ipVersions) {
      for (const protocol of ['TCP', 'UDP'] as const) {
        seen(outside, protocol === 'TCP' ? 'tcp' : 'udp', of(agentLab.node, end), nodePort);
      }
    }
    const file = join(folder, 'secret.dump');
    await agentLab.heddle('dump', file);
    const live = await openDump({ socket: agentLab.socket, bpffs: agentLab.node.bpffs });
    const saved = await readDump(file);
    const secretOf = (dump: Dump) => {
      const [[, value]] = [...entriesOf(mapNamed(dump, 'nat_table')!)] as [
        [Uint8Array, Uint8Array],
      ];
      return decodeCtTable(value).secret;
    };
    assert.notDeepEqual(secretOf(saved), secretOf(live));
    assert.ok(secretOf(saved).every((word) => !secretOf(live).includes(word)));
    const slots = (dump: Dump) => {
      const numbered = (name: MapName) =>
        new Map(
          Array.from(entriesOf(mapNamed(dump, name)!), ([key, value]) => [
            new DataView(key.buffer, key.byteOffset).getUint32(0, true),
            value,
          ]),
        );
      const [index, flows, sources] = (['nat_index', 'nat_flows', 'nat_sources'] as const).map(
        numbered,
      ) as [Map<number, Uint8Array>, Map<number, Uint8Array>, Map<number, Uint8Array>];
      const buckets = mapNamed(dump, 'nat_index')!.info.maxEntries;
      const all = {
        ...{ buckets, index },
        flow: (number: number) => flows.get(number),
        source: (number: number) => sources.get(number),
      };
      const keys: string[] = [];
      for (const [bucket, value] of index) {
        for (const slot of decodeCtBucket(value).slots) {
          const key = slot === 0n ? undefined : keyOfSlot(slot, all);
          if (!key) continue;
          const place = placeOfKey(key, secretOf(dump), buckets);
          assert.deepEqual(place, { bucket, tag: (slot >> 32n) & 0xffffn });
          keys.push(key.join());
        }
      }
      return keys.sort();
    };
    // The first shows that buckets are computed as in the kernel.
    const kept = new Set(slots(live));
    assert.ok(kept.size >= 8, `${kept.size} keys`);
    const fromDump = slots(saved);
    assert.ok(fromDump.length >= 8 && fromDump.every((key) => kept.has(key)));
    for (const end of ipVersions) {
      const destination = {
        ...{ from: of(outside, end), to: of(agentLab.node, end), port: nodePort },
        ...({ protocol: 'udp', flow: true } as const),
      };
      const found = trace(saved, destination);
      assert.deepEqual(found.verdict, trace(live, destination).verdict);
      assert.equal(found.verdict.outcome, 'translated');
    }
  });

  test('a trace reports a hook with a missing or different program', async () => {
    const dump = await openDump({ socket: agentLab.socket, bpffs: agentLab.node.bpffs });
    const destination = {
      from: of(client, 'v4'),
      to: addresses.one.v4,
      port: 80,
      protocol: 'tcp',
    } as const;
    const programs = new Map(
      Array.from(dump.programs, ([id, each]) => [id, { ...each, tag: '0123456789abcdef' }]),
    );
    const other = trace({ ...dump, programs }, destination);
    assert.equal(other.hooks[0]!.same, false);
    assert.match(
      other.notes[0]!,
      /^the program attached at connect4 .* differs from the program that ran here/,
    );

    // A dump of an older version has no tags, and the tags of connect4 depend on the node's kernel.
    const older = trace({ ...dump, tags: new Map() }, destination);
    assert.deepEqual([older.hooks[0]!.same, older.notes], [undefined, []]);

    const links = dump.links.filter(({ pin }) => pin !== 'connect4');
    const without = trace({ ...dump, links }, destination);
    assert.equal(without.verdict.outcome, 'passed');
    assert.match(without.verdict.text, /^no program of Heddle is attached at connect4/);

    const namespaces = dump.namespaces.map((each) => ({ ...each, isNode: false, isServed: false }));
    const elsewhere = { ...destination, from: '10.244.99.1', at: 'socket' } as const;
    const alien = { ...namespaces[0]!, addresses: ['10.244.99.1'] };
    assert.match(
      trace({ ...dump, namespaces: [alien] }, elsewhere).verdict.text,
      /^its processes are not in the cgroup that Heddle serves/,
    );
  });

  describe('in a separate process namespace, as in the DaemonSet’s pod', () => {
    before(async () => {
      const { lab } = agentLab;
      const pod = (name: string, namespace: string, ips: readonly string[]) => ({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace },
        spec: { nodeName: agentLab.node.name, containers: [{ name: 'c' }] },
        status: { phase: 'Running', podIPs: ips.map((ip) => ({ ip })) },
      });
      await agentLab.apply(
        'pods.yaml',
        pod('web-0', 'default', Object.values(lab.pods[0]!.addresses)),
        pod('web-0', 'other', Object.values(lab.pods[1]!.addresses)),
        pod('db-0', 'default', Object.values(lab.pods[2]!.addresses)),
        pod('hidden', 'default', ['10.244.77.7']),
      );
    });

    const traceInPod = (...args: readonly string[]): Promise<{ text: string; trace?: Trace }> =>
      new Promise((resolve) => {
        const child = agentLab.node.spawn(
          'unshare',
          [
            ...['--pid', '--fork', '--mount-proc', process.execPath],
            ...[`${root}packages/cli/src/main.ts`, 'trace', '--socket', agentLab.socket],
            ...['--port', '80', '-o', 'json', ...args],
          ],
          { stdio: ['ignore', 'pipe', 'pipe'] },
        );
        const output = { stdout: '', stderr: '' };
        for (const name of ['stdout', 'stderr'] as const) {
          child[name]!.on('data', (data) => {
            output[name] += data;
          });
        }
        child.on('close', () => {
          const text = output.stdout === '' ? output.stderr : output.stdout;
          const isTrace = output.stdout !== '';
          resolve(isTrace ? { text, trace: JSON.parse(text) as Trace } : { text });
        });
      });

    for (const end of ipVersions) {
      test(`a pod's address is traced as a socket call of the pod, ${end}`, async () => {
        const destination = ['--from', of(client, end), '--to', addresses.one[end]];
        const { trace: found, text } = await traceInPod(...destination);
        assert.equal(found?.question.at, 'socket', text);
        assert.equal(predictedResult(found), agentLab.lab.pods[4]!.name);
      });

      test(`an external client's address is traced as a packet that enters, ${end}`, async () => {
        const to = agentLab.node.addresses[end];
        const { trace: found, text } = await traceInPod(
          ...['--from', of(outside, end), '--to', to, '--port', `${nodePort}`],
        );
        assert.equal(found?.question.at, 'node', text);
        assert.equal(predictedResult(found), agentLab.lab.pods[4]!.name);
      });
    }

    test('a pod is found by its Kubernetes name', async () => {
      for (const [from, pod] of [
        ['default/web-0', 0],
        ['other/web-0', 1],
        ['db-0', 2],
      ] as const) {
        const { trace: found, text } = await traceInPod('--from', from, '--to', 'one');
        assert.equal(found?.question.source, agentLab.lab.pods[pod]!.addresses.v4, text);
        assert.equal(found.question.at, 'socket');
      }
      const { text } = await traceInPod('--from', 'web-0', '--to', 'one');
      assert.match(text, /2 network namespaces have that name/);
    });

    test('the node is found by the name of its Node object', async () => {
      const { trace: found, text } = await traceInPod('--from', agentLab.node.name, '--to', 'one');
      assert.equal(found?.question.namespace?.isNode, true, text);
    });

    test("a pod whose network namespace can't be seen is not traced as an external client", async () => {
      const { text } = await traceInPod('--from', '10.244.77.7', '--to', 'one');
      assert.match(text, /address of pod default\/hidden of this node, whose network namespace/);
      const { trace: found } = await traceInPod(
        '--from',
        '10.244.77.7',
        '--to',
        'one',
        '--at',
        'node',
      );
      assert.equal(found?.question.at, 'node');
    });
  });

  test('an unknown pod, service or namespace is named in the error', async () => {
    const socket = ['--socket', agentLab.socket];
    for (const [args, message] of [
      [
        ['--from', 'pod-7', '--to', 'one'],
        /neither a pod of this node nor the node has that name \(there are /,
      ],
      [['--from', 'pod-1-1', '--to', 'two'], /the agent has no address of a service default\/two/],
      [
        ['--from', '203.0.113.250', '--to', 'one', '--at', 'socket'],
        /no network namespace of this node/,
      ],
      [['--from', '10.244.1.1', '--to', 'fd00:96::71'], /has the other address family/],
    ] as const) {
      const { code, stdout, stderr } = await heddle(['trace', ...args, '--port', '80', ...socket]);
      assert.deepEqual([code, stdout], [1, ''], stderr);
      assert.match(stderr, message);
    }
  });

  test('SCTP and ICMP sockets are passed unchanged, because the kernel runs no program for them', async () => {
    const dump = await openDump({ socket: agentLab.socket, bpffs: agentLab.node.bpffs });
    const from = of(client, 'v4');
    const destination = { from, to: addresses.one.v4, at: 'socket' } as const;
    const sctp = trace(dump, { ...destination, port: 80, protocol: 'sctp' });
    assert.match(
      sctp.verdict.text,
      /^the kernel has no such hooks for SCTP: .* 10\.96\.7\.1:80 unchanged$/,
    );
    const echo = trace(dump, { ...destination, protocol: 'icmp' });
    assert.match(echo.verdict.text, /^the kernel runs no program for .* 10\.96\.7\.1 unchanged$/);
    assert.deepEqual([sctp.hooks, echo.hooks], [[], []]);
  });
});
