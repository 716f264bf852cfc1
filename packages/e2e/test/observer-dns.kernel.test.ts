// Answers of name servers to pods are flows, and name addresses of the world.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { type DnsRecord, dnsTypes, encodeAnswer } from '@heddle/datapath/testing/dns-message';
import { flowsAt } from '@heddle/hubble/testing/client';
import { askTcp, BlockingSocket, type LabHost, type LabNode, type LabPod } from '@heddle/lab';
import { parseIp, SysError } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { NodeNetworkLab } from '../testing/node-network-lab.ts';
import { ObserverProcess } from '../testing/observer-process.ts';

/** The real command of Hubble, if the environment names it. */
const hubble = process.env.HEDDLE_TEST_HUBBLE;
const platform = nodePlatform(() => {});
const ends = ['v4', 'v6'] as const;
type Family = (typeof ends)[number];
const clientPort = 40_053;

describe('names from answers of name servers', () => {
  let network: NodeNetworkLab;
  let node: LabNode;
  let client: LabPod;
  let server: LabPod;
  let world: LabHost;
  let observer: ObserverProcess;

  before(async () => {
    network = new NodeNetworkLab('observer-dns', { nodes: 1, hasPods: false, outside: 1 });
    await network.start('--visibility', '--masquerade', 'both');
    node = network.node(1);
    client = await network.addPod(node, { namespace: 'shop', name: 'client' });
    server = await network.addPod(node, { namespace: 'kube-system', name: 'dns' });
    world = network.lab.outside[0]!;
    observer = await ObserverProcess.start(network, node);
  });
  after(async () => {
    await observer?.[Symbol.asyncDispose]();
    network?.[Symbol.dispose]();
  });

  /** Has the client ask the name server, which sends these bytes. */
  function answer(family: Family, bytes: Uint8Array): void {
    const unspecified = family === 'v4' ? '0.0.0.0' : '::';
    const open = (host: LabHost) =>
      host.enter(() =>
        BlockingSocket.open(platform, {
          ...{ protocol: 'udp', family: family === 'v4' ? 4 : 6, timeoutMs: 3000 },
        }),
      );
    using here = open(client);
    using there = open(server);
    here.bind({ address: unspecified, port: clientPort });
    there.bind({ address: unspecified, port: 53 });
    here.connect({ address: server.addresses[family], port: 53 });
    there.connect({ address: client.addresses[family], port: clientPort });
    here.send('?');
    there.receive();
    there.send(bytes);
    here.receive();
  }

  const record = (name: string, address: string, family: Family): DnsRecord => {
    const bytes = parseIp(address)!;
    return family === 'v4'
      ? { name, type: dnsTypes.a, ttl: 30, data: bytes.subarray(12) }
      : { name, type: dnsTypes.aaaa, ttl: 30, data: bytes };
  };

  /** Returns the flow of an answer about a name, which is given until it has been observed. */
  const answerFlow = (family: Family, name: string, address: string) =>
    network.until(`the answer about ${name}`, async () => {
      answer(family, encodeAnswer({ question: name, records: [record(name, address, family)] }));
      return (await flowsAt(observer.socket, { whitelist: [{ dnsQuery: [name] }] }))[0];
    });

  /** Returns the names of the destination of a connection from the client. */
  const namesOf = (address: string, port: number) =>
    network.until('the flow of a connection', async () => {
      try {
        askTcp(client, { address, port }, 'who?', 300);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
      }
      const wanted = { destinationIp: [address], destinationPort: [`${port}`] };
      return (await flowsAt(observer.socket, { whitelist: [wanted] })).at(-1)?.destinationNames;
    });

  for (const [i, family] of ends.entries()) {
    test(`an answer is a flow, and names the address of the world, ${family}`, async () => {
      const address = world.addresses[family];
      const name = `api.${family}.example`;
      const flow = await answerFlow(family, name, address);
      assert.deepEqual([flow.source?.podName, flow.destination?.podName], ['dns', 'client']);
      const { record: answered } = flow.l7!;
      assert.ok(answered.case === 'dns');
      const { query, ips, ttl, rcode, rrtypes } = answered.value;
      const types = [family === 'v4' ? 'A' : 'AAAA'];
      assert.deepEqual([query, ips, ttl, rcode, rrtypes], [`${name}.`, [address], 30, 0, types]);
      assert.deepEqual(await namesOf(address, 5000 + i), [name]);
    });

    test(`an answer never names a pod or the node, ${family}`, async () => {
      const name = `evil.${family}.example`;
      await answerFlow(family, name, server.addresses[family]);
      assert.deepEqual(await namesOf(server.addresses[family], 5010 + i), []);
    });

    test(`hostile answers are left out, and the next one is read, ${family}`, async () => {
      const header = [0x12, 0x34, 0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
      for (const bytes of [
        [0],
        header,
        [...header, 0xc0, 12, 0, 1, 0, 1],
        [...header, 63, ...Array(480).fill(97)],
        Array(1200).fill(0xff),
      ]) {
        answer(family, Uint8Array.from(bytes));
      }
      answer(family, encodeAnswer({ question: 'a\u001b[2J.example', records: [] }));
      await answerFlow(family, `next.${family}.example`, world.addresses[family]);
      const all = await flowsAt(observer.socket, { whitelist: [{ protocol: ['DNS'] }] });
      assert.ok(
        all.every(({ l7 }) => l7?.record.case === 'dns' && /^[!-~]+$/.test(l7.record.value.query)),
      );
      assert.equal(observer.exitCode, null, observer.log);
    });
  }

  test('the command hubble shows answers and names', { skip: hubble === undefined }, () => {
    const ask = (...args: string[]) =>
      execFileSync(
        hubble!,
        ['--server', `unix://${observer.socket}`, 'observe', '--all', ...args],
        {
          encoding: 'utf8',
        },
      );
    assert.match(ask('--protocol', 'dns'), /dns-response .*DNS Answer ".*" TTL: 30/i);
    const named = ask('--to-fqdn', 'api.v4.example');
    assert.match(named, /shop\/client:\d+ .*-> .*:5000/);
    assert.doesNotMatch(named, /:5010/);
  });
});
