// Rules that name hosts: a pod asks a name server over the network, and reaches the addresses of the answer at once.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type DnsRecord, dnsTypes, encodeAnswer } from '@heddle/datapath/testing/dns-message';
import { BlockingSocket, type LabHost } from '@heddle/lab';
import { parseIp, SysError } from '@heddle/sys';
import type { ManifestObject } from '../testing/node-network-lab.ts';
import { namespaceObject, PolicyLab } from '../testing/policy/policy-lab.ts';

const ends = ['v4', 'v6'] as const;
type Family = (typeof ends)[number];
const inNamespace = (name: string) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } });

/** Pods of `shop` may ask the cluster's name servers, and reach two hosts of the world. */
const policy = {
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name: 'shop-egress' },
  spec: {
    ...{ tier: 'Admin', priority: 10, subject: { namespaces: inNamespace('shop') } },
    egress: [
      {
        ...{ name: 'dns', action: 'Accept', to: [{ namespaces: inNamespace('kube-system') }] },
        protocols: [{ udp: { destinationPort: { number: 53 } } }],
      },
      { name: 'hosts', action: 'Accept', to: [{ domainNames: ['api.example.com', '*.cdn.test'] }] },
      { name: 'rest', action: 'Deny', to: [{ networks: ['0.0.0.0/0', '::/0'] }] },
    ],
  },
} as unknown as ManifestObject;

function slice(family: 'IPv4' | 'IPv6', address: string): ManifestObject {
  return {
    ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: family },
    metadata: {
      ...{ name: `kube-dns-${family.toLowerCase()}`, namespace: 'kube-system' },
      labels: { 'kubernetes.io/service-name': 'kube-dns' },
    },
    ...{
      endpoints: [{ addresses: [address] }],
      ports: [{ name: 'dns', port: 53, protocol: 'UDP' }],
    },
  } as unknown as ManifestObject;
}

for (const path of ['direct', 'tunnel'] as const) {
  describe(`rules that name hosts, the name server ${path}`, () => {
    let lab: PolicyLab;
    let client: LabHost;
    let server: LabHost;
    let world: LabHost;
    before(async () => {
      lab = new PolicyLab(`names-${path}`, path, { outside: 1 });
      lab.change({ put: [namespaceObject('shop', {}), namespaceObject('kube-system', {})] });
      await lab.start('--masquerade', 'both');
      const pod = (namespace: string, name: string, node: number) =>
        lab.connect({ namespace, name, labels: { app: name }, node, ports: [] });
      client = await pod('shop', 'client', 1);
      server = await pod('kube-system', 'dns', 2);
      world = lab.lab.outside[0]!;
      const { v4, v6 } = server.addresses;
      await lab.apply({ put: [policy, slice('IPv4', v4), slice('IPv6', v6)] });
    });
    after(() => lab?.[Symbol.dispose]());

    function socket(host: LabHost, protocol: 'tcp' | 'udp', family: Family, timeoutMs: number) {
      const options = { protocol, family: family === 'v4' ? 4 : 6, timeoutMs } as const;
      return host.enter(() => BlockingSocket.open(lab.platform, options));
    }

    /** Has the client ask the name server, which answers with these records. */
    function ask(family: Family, question: string, records: readonly DnsRecord[]): void {
      const unspecified = family === 'v4' ? '0.0.0.0' : '::';
      using here = socket(client, 'udp', family, 3000);
      using there = socket(server, 'udp', family, 3000);
      here.bind({ address: unspecified, port: 40_053 });
      there.bind({ address: unspecified, port: 53 });
      here.connect({ address: server.addresses[family], port: 53 });
      there.connect({ address: client.addresses[family], port: 40_053 });
      here.send('?');
      there.receive();
      there.send(encodeAnswer({ question, records }));
      here.receive();
    }

    const record = (name: string, address: string, family: Family): DnsRecord => {
      const bytes = parseIp(address)!;
      const [type, data] =
        family === 'v4' ? [dnsTypes.a, bytes.subarray(12)] : [dnsTypes.aaaa, bytes];
      return { name, type, ttl: 30, data };
    };

    /** Returns true if a host of the world answers the client. Nothing listens there, so the answer is a reset. */
    function reaches(family: Family, patientMs: number): boolean {
      using from = socket(client, 'tcp', family, patientMs);
      try {
        from.connect({ address: world.addresses[family], port: 443 });
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        return error.code === 'ECONNREFUSED';
      }
      return true;
    }

    for (const family of ends) {
      test(`${family}: the first packet after the answer passes, and other names open nothing`, () => {
        const address = world.addresses[family];
        assert.equal(reaches(family, 300), false, 'before any answer');
        ask(family, 'www.example.com', [record('www.example.com', address, family)]);
        assert.equal(reaches(family, 300), false, 'a name that no rule has');
        ask(family, 'edge.cdn.test', [
          { name: 'edge.cdn.test', type: dnsTypes.cname, ttl: 30, data: 'host.example.net' },
          record('host.example.net', address, family),
        ]);
        // Less than a second, after which TCP would send its first packet again.
        assert.equal(reaches(family, 900), true, 'a host of *.cdn.test');
      });
    }

    test('what is known outlives the agent', async () => {
      await lab.kill(lab.node(1));
      for (const family of ends) assert.equal(reaches(family, 900), true, family);
    });
  });
}
