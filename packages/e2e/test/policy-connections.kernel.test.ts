// Open connections and changes of network policies: each packet has the verdict of the policies as they are now.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { BlockingSocket, type LabHost } from '@heddle/lab';
import { decodeUtf8, SysError } from '@heddle/sys';
import { encodeTimeout, SO_RCVTIMEO, SOL_SOCKET } from '@heddle/sys/net';
import { eventually } from '@heddle/sys/testing/eventually';
import type { ManifestObject } from '../testing/node-network-lab.ts';
import { DirectPolicyLab } from '../testing/policy/direct-lab.ts';
import { app, networkPolicy } from '../testing/policy/own-objects.ts';
import { type NodePath, namespaceObject } from '../testing/policy/policy-lab.ts';

const ends = ['v4', 'v6'] as const;
type Family = (typeof ends)[number];
/** The time in which a packet that passes arrives, also one that TCP sends again. */
const patientMs = 3000;
const impatientMs = 50;

const server = { podSelector: app('server') };
const client = { podSelector: app('client') };
const closed = networkPolicy('shop/server', { ...server, ingress: [] });
const open = networkPolicy('shop/server', { ...server, ingress: [{ from: [client] }] });
const closedClient = networkPolicy('shop/client', { ...client, egress: [] });
const openClient = networkPolicy('shop/client', { ...client, egress: [{ to: [server] }] });

for (const path of ['local', 'direct', 'tunnel'] as const) {
  describe(`a connection between pods, ${path}`, () => {
    let lab: DirectPolicyLab;
    let from: LabHost;
    let to: LabHost;
    let policies: ManifestObject[] = [];
    const opened: Disposable[] = [];
    let port = 9000;

    before(async () => {
      const between: NodePath = path === 'tunnel' ? 'tunnel' : 'direct';
      lab = new DirectPolicyLab(`open-${path}`, between);
      lab.change({ put: [namespaceObject('shop', {})] });
      const pod = (name: string, node: number) =>
        lab.connect({ namespace: 'shop', name, labels: { app: name }, node, ports: [] });
      from = await pod('client', 1);
      to = await pod('server', path === 'local' ? 1 : 2);
    });
    afterEach(async () => {
      for (const each of opened.splice(0)) each[Symbol.dispose]();
      await set();
    });
    after(() => lab?.[Symbol.dispose]());

    /** Makes these the only policies. */
    async function set(...put: ManifestObject[]): Promise<void> {
      const names = new Set(put.map(({ metadata }) => metadata.name));
      const remove = policies.filter(({ metadata }) => !names.has(metadata.name));
      policies = put;
      await lab.apply({ put, remove });
    }

    function socket(host: LabHost, protocol: 'tcp' | 'udp', family: Family): BlockingSocket {
      const made = host.enter(() =>
        BlockingSocket.open(lab.platform, {
          ...{ protocol, family: family === 'v4' ? 4 : 6, timeoutMs: patientMs },
        }),
      );
      opened.push(made);
      return made;
    }

    /** Returns the two ends of a new TCP connection. */
    function connect(family: Family, own?: number): readonly [BlockingSocket, BlockingSocket] {
      const at = { address: to.addresses[family], port: ++port };
      const listener = socket(to, 'tcp', family);
      listener.bind(at);
      listener.listen();
      const near = socket(from, 'tcp', family);
      if (own !== undefined) near.bind({ address: from.addresses[family], port: own });
      near.connect(at);
      const far = listener.accept(patientMs);
      opened.push(far);
      return [near, far];
    }

    let texts = 0;
    /** Sends a text from one end to the other, which gets it, perhaps with earlier ones that had to wait. */
    function passes(sender: BlockingSocket, receiver: BlockingSocket): void {
      const text = `text ${++texts};`;
      sender.send(text);
      let got = '';
      while (!got.endsWith(text)) got += decodeUtf8(receiver.receive());
    }

    async function blocks(sender: BlockingSocket, receiver: BlockingSocket): Promise<void> {
      const before = lab.drops();
      sender.send(`text ${++texts};`);
      await eventually('the packet to be dropped', () => lab.drops() > before);
      receiver.setOption(SOL_SOCKET, SO_RCVTIMEO, encodeTimeout(impatientMs));
      assert.throws(() => receiver.receiveFrom(), isTimeout);
      receiver.setOption(SOL_SOCKET, SO_RCVTIMEO, encodeTimeout(patientMs));
    }

    const isTimeout = (error: unknown) => error instanceof SysError && error.code === 'ETIMEDOUT';
    /** Makes an end wait only shortly. */
    const impatient = (host: LabHost, family: Family) =>
      host.enter(() =>
        BlockingSocket.open(lab.platform, {
          ...{ protocol: 'tcp', family: family === 'v4' ? 4 : 6, timeoutMs: impatientMs },
        }),
      );

    for (const family of ends) {
      test(`that is older than the policies goes on if they allow it, ${family}`, async () => {
        const [near, far] = connect(family);
        passes(near, far);
        await set(open, openClient);
        passes(near, far);
        passes(far, near);
        // New policies, and none, change nothing either.
        await set(openClient);
        passes(far, near);
        await set();
        passes(near, far);
      });

      for (const [who, policy, allowing] of [
        ['the server', closed, open],
        ['the client', closedClient, openClient],
      ] as const) {
        test(`that is older than the policies of ${who} ends if they deny it, ${family}`, async () => {
          const [near, far] = connect(family);
          passes(near, far);
          await set(policy);
          await blocks(near, far);
        });

        test(`ends when the policies of ${who} deny it, and goes on when they allow it again, ${family}`, async () => {
          await set(allowing);
          const [near, far] = connect(family);
          passes(near, far);
          passes(far, near);
          await set(policy);
          await blocks(near, far);
          await set(allowing);
          passes(near, far);
          passes(far, near);
        });
      }

      test(`is answered by a pod that may not send, ${family}`, async () => {
        await set(open, networkPolicy('shop/quiet', { ...server, egress: [] }));
        const [near, far] = connect(family);
        passes(near, far);
        passes(far, near);
      });

      test(`with the ports of an earlier one is denied if the policies deny it now, ${family}`, async () => {
        await set(open);
        const own = 30_000 + texts;
        const [near, far] = connect(family, own);
        passes(near, far);
        near[Symbol.dispose]();
        far[Symbol.dispose]();
        await set(closed);
        using again = impatient(from, family);
        again.bind({ address: from.addresses[family], port: own });
        assert.throws(() => again.connect({ address: to.addresses[family], port }), isTimeout);
        await set(open);
        using third = impatient(from, family);
        third.bind({ address: from.addresses[family], port: own + 1 });
        third.connect({ address: to.addresses[family], port });
      });

      test(`of datagrams ends and goes on with the policies, ${family}`, async () => {
        await set(open);
        const at = { address: to.addresses[family], port: ++port };
        const far = socket(to, 'udp', family);
        far.bind(at);
        const near = socket(from, 'udp', family);
        near.connect(at);
        const exchange = () => {
          near.send('request');
          const { from: peer } = far.receiveFrom();
          far.send('answer', peer);
          assert.equal(decodeUtf8(near.receive()), 'answer');
          return peer;
        };
        const peer = exchange();
        await set(closed);
        const before = lab.drops();
        near.send('request');
        await eventually('the datagram to be dropped', () => lab.drops() > before);
        // The flow has ended, so what looks like an answer is none.
        await set(closed, networkPolicy('shop/quiet', { ...server, egress: [] }));
        const dropped = lab.drops();
        far.send('answer', peer);
        await eventually('the answer to be dropped', () => lab.drops() > dropped);
        await set(open);
        exchange();
      });
    }
  });
}
