// A new pod's policies hold from its first packet on: a process sends, and others send to it, from before its interface
// exists. HEDDLE_PODS=1000 takes more pods.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { LabHost, LabPod } from '@heddle/lab';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import { EPOLLIN } from '@heddle/sys/net';
import { all, app, networkPolicy, team } from '../testing/policy/own-objects.ts';
import { namespaceObject, type PodSpec, PolicyLab } from '../testing/policy/policy-lab.ts';
import { encodeSctp, protocolNumbers, sctpInit } from '../testing/policy/probe-messages.ts';
import { inNamespace, ProbeSockets } from '../testing/policy/probe-sockets.ts';
import { type RestlessSend, RestlessSenders } from '../testing/policy/restless-senders.ts';

const count = Number(process.env.HEDDLE_PODS ?? 30);
const port = 7777;
const families = [4, 6] as const;
const guard = (name: string, node: number): PodSpec => ({
  ...{ namespace: 'guard', name, labels: { app: name }, node, ports: [] },
});
/** New pods may exchange packets with `friend` pods only, and not with `other` ones. */
const friend = [{ namespaceSelector: team('guard'), podSelector: app('friend') }];
const policies = [
  networkPolicy('new/only-friends', {
    podSelector: all,
    ingress: [{ from: friend }],
    egress: [{ to: friend }],
  }),
];

describe('a new pod with policies', () => {
  let lab: PolicyLab;
  let sockets: ProbeSockets;
  let senders: RestlessSenders;
  /** The hosts that exist before, by name; of each name one on each node. */
  const hosts = new Map<string, LabHost[]>();
  /** The numbers of messages that have arrived, by their text, e.g. `12 to other`. */
  const arrived = new Map<string, number>();
  const note = (text: string) => arrived.set(text, (arrived.get(text) ?? 0) + 1);

  before(async () => {
    lab = new PolicyLab('first-packet');
    await lab.start();
    sockets = new ProbeSockets(lab.platform);
    senders = new RestlessSenders(2);
    lab.change({ put: [namespaceObject('guard', { team: 'guard' }), namespaceObject('new', {})] });
    for (const name of ['friend', 'other']) {
      const both = [];
      for (const node of [1, 2]) {
        // Labels decide, so both names exist on both nodes.
        const spec = { ...guard(`${name}-${node}`, node), labels: { app: name } };
        both.push(await lab.connect(spec));
      }
      hosts.set(name, both);
      for (const host of both) listen(host, name);
    }
    await lab.apply({ put: policies });
  });
  after(() => {
    senders?.[Symbol.dispose]();
    sockets?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** Counts what arrives at a host, whose kind of peer is `name`. */
  function listen(host: LabHost, name: string): void {
    inNamespace(host, () => {
      for (const family of families) {
        const address = family === 4 ? host.addresses.v4 : host.addresses.v6;
        const udp = sockets.open('udp', family);
        sockets.bind(udp, { address, port });
        sockets.watch(udp, EPOLLIN, () =>
          sockets.receiveAll(udp, (bytes) => note(`${decodeUtf8(bytes)} to ${name}`)),
        );
        const tcp = sockets.open('tcp', family);
        sockets.bind(tcp, { address, port });
        sockets.listen(tcp);
        sockets.watch(tcp, EPOLLIN, () => {
          const fd = sockets.accept(tcp);
          note(`connection to ${name}`);
          sockets.close(fd, true);
        });
        const sctp = sockets.open('raw', family, protocolNumbers.SCTP);
        sockets.watch(sctp, EPOLLIN, () =>
          sockets.receiveAll(sctp, () => note(`chunk to ${name}`)),
        );
      }
    });
  }

  /** Opens the sockets of a new pod, and returns what they send. */
  function open(pod: LabPod, fds: number[], number: number): RestlessSend[] {
    const sends: RestlessSend[] = [];
    const text = encodeUtf8(`${number}`);
    const init = { sport: port, dport: port, verificationTag: 0, chunk: sctpInit, cookie: '' };
    inNamespace(pod, () => {
      for (const family of families) {
        const opened = (...options: Parameters<ProbeSockets['open']>) => {
          const fd = sockets.open(...options);
          fds.push(fd);
          return fd;
        };
        const udp = opened('udp', family);
        sockets.bind(udp, { address: family === 4 ? '0.0.0.0' : '::', port });
        sockets.watch(udp, EPOLLIN, () =>
          sockets.receiveAll(udp, (bytes) => note(`${decodeUtf8(bytes)} to new`)),
        );
        for (const [counter, name] of ['friend', 'other'].entries()) {
          for (const { addresses } of hosts.get(name)!) {
            const to = { address: family === 4 ? addresses.v4 : addresses.v6, port };
            sends.push({ fd: udp, to, bytes: text, counter });
            if (name === 'friend') continue;
            sends.push({ fd: opened('tcp', family), to, bytes: undefined, counter });
            const raw = opened('raw', family, protocolNumbers.SCTP);
            const chunk = encodeSctp({ ...init, initiateTag: number + 1 });
            sends.push({ fd: raw, to: { ...to, port: 0 }, bytes: chunk, counter });
          }
        }
      }
    });
    return sends;
  }

  /** Returns what other hosts send to the addresses that the next pod of the first node may get. */
  function towards(last: LabHost | undefined, fds: number[]): RestlessSend[] {
    const from = Number((last?.addresses.v4 ?? '10.244.1.3').split('.')[3]);
    const next = [1, 2].map((step) => 2 + ((from - 2 + step) % 253));
    return [...hosts].flatMap(([name, both]) =>
      both.flatMap((host) =>
        inNamespace(host, () =>
          families.flatMap((family) => {
            const fd = sockets.open('udp', family);
            fds.push(fd);
            return next.map((number) => ({
              ...{ fd, bytes: encodeUtf8(name), counter: 0 },
              to: {
                address:
                  family === 4 ? `10.244.1.${number}` : `fd00:10:244:1::${number.toString(16)}`,
                port,
              },
            }));
          }),
        ),
      ),
    );
  }

  test(`exchanges no packet that they deny, of ${count} pods`, async () => {
    let last: LabHost | undefined;
    for (let number = 0; number < count; number++) {
      const fds: number[] = [];
      const spec: PodSpec = {
        namespace: 'new',
        name: `pod-${number}`,
        labels: {},
        node: 1,
        ports: [],
      };
      const ofOthers = towards(last, fds);
      const accepted = [0, 1].map((counter) => senders.accepted(counter));
      const pod = await lab.connect(spec, undefined, (created) => {
        senders.send([...open(created, fds, number), ...ofOthers]);
      });
      await lab.until(`pod ${number} to exchange packets with its friends`, () => {
        sockets.wait(0);
        const toFriends = arrived.get(`${number} to friend`) ?? 0;
        return toFriends > 0 && (arrived.get('friend to new') ?? 0) > 0;
      });
      senders.send([]);
      sockets.wait(5);
      for (const counter of [0, 1]) assert.ok(senders.accepted(counter) > accepted[counter]!);
      assert.ok(!arrived.has(`${number} to other`), `pod ${number} has sent a denied packet`);
      assert.ok(!arrived.has('other to new'), `pod ${number} has received a denied packet`);
      arrived.delete('friend to new');
      for (const fd of fds) sockets.close(fd, true);
      last = pod;
      await lab.disconnect(`new/pod-${number}`);
    }
    assert.equal(arrived.get('connection to other'), undefined);
    assert.equal(arrived.get('chunk to other'), undefined);
    assert.ok(lab.drops() > count, 'the denied packets have been sent');
  });
});
