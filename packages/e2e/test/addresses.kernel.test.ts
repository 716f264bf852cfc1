import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { ServiceEntry } from '@heddle/agent';
import { service, slice } from '../testing/objects.ts';
import { outputOf } from '../testing/output.ts';
import { backendNames, distinct, ports, ServiceLab } from '../testing/service-lab.ts';

describe('addresses of services', () => {
  let setup: ServiceLab;
  before(async () => {
    setup = await ServiceLab.open('addresses');
  });
  after(() => setup?.[Symbol.dispose]());

  test('named target ports and several ports are served in both families, also one number for TCP and UDP', async () => {
    const { agentLab, client } = setup;
    const targets = [
      { name: 'http', port: ports.http },
      { name: 'https', port: ports.https },
      { name: 'dns', protocol: 'UDP', port: ports.dns },
      { name: 'dns-tcp', port: ports.http },
    ];
    await agentLab.apply(
      'multi.yaml',
      service('multi', ['10.96.1.1', 'fd00:96::1:1'], {
        ipFamilyPolicy: 'RequireDualStack',
        ports: [
          { name: 'http', port: 80, targetPort: 'web' },
          { name: 'https', port: 443, targetPort: 'tls' },
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 'dns' },
          { name: 'dns-tcp', port: 53, targetPort: 'web' },
        ],
      }),
      slice('multi', setup.v4(1), { ports: targets }),
      slice('multi', setup.v6(2), { ports: targets, name: 'multi-v6' }),
    );
    for (const [host, pod] of [
      ['10.96.1.1', backendNames(1)[0]],
      ['fd00:96::1:1', backendNames(2)[0]],
    ] as const) {
      for (const port of [80, 443, 53]) {
        assert.deepEqual(await client.tcp(host, port), { pod, from: `${host} ${port}` });
      }
      assert.deepEqual(await client.udp(host, 53, host), { pod, from: `${host} 53` });
      assert.equal(await client.pod(host, 81), 'ECONNREFUSED', 'a port that it does not have');
      assert.equal((await client.udp(host, 80, host)).pod, 'ECONNREFUSED');
    }
    const mapped = '::ffff:10.96.1.1';
    assert.deepEqual(await client.tcp(mapped, 80), {
      pod: backendNames(1)[0],
      from: `${mapped} 80`,
    });
  });

  test('headless and ExternalName services and those of another proxy are not served until that changes', async () => {
    const { agentLab, client } = setup;
    const address = '10.96.1.2';
    const write = (spec: object = {}, more: object = {}) =>
      agentLab.apply(
        'switch.yaml',
        service('switch', [address], { ...spec }, { ...more }),
        slice('switch', setup.v4(1)),
      );
    await write();
    assert.equal(await client.pod(address, 80), backendNames(1)[0]);
    for (const [spec, more] of [
      [{ clusterIP: 'None', clusterIPs: ['None'] }, {}],
      [{ type: 'ExternalName', externalName: 'example.com' }, {}],
      [{}, { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } }],
      [{}, { labels: { 'service.kubernetes.io/service-proxy-name': '' } }],
    ]) {
      await write(spec, more);
      assert.deepEqual(await agentLab.service('switch'), []);
      assert.notEqual(await client.pod(address, 80), backendNames(1)[0]);
      await write();
      assert.equal(await client.pod(address, 80), backendNames(1)[0]);
    }
  });

  test('a NodePort is served to pods and the node, also on loopback, and bind is guarded', async () => {
    const { agentLab, client, onNode } = setup;
    const { v4, v6 } = agentLab.node.addresses;
    await agentLab.apply(
      'nodeport.yaml',
      service('nodeport', ['10.96.1.3', 'fd00:96::1:3'], {
        type: 'NodePort',
        ports: [{ port: 80, nodePort: 30080 }],
      }),
      slice('nodeport', setup.v4(1)),
      slice('nodeport', setup.v6(1), { name: 'nodeport-v6' }),
    );
    for (const host of [v4, v6]) {
      assert.deepEqual(await client.tcp(host, 30080), {
        pod: backendNames(1)[0],
        from: `${host} 30080`,
      });
    }
    for (const host of [v4, v6, '127.0.0.1', '127.0.0.9', '::1', '::ffff:127.0.0.1']) {
      assert.deepEqual(await onNode.tcp(host, 30080), {
        pod: backendNames(1)[0],
        from: `${host} 30080`,
      });
    }
    assert.equal(
      await client.pod('127.0.0.1', 30080),
      'ECONNREFUSED',
      "a pod's loopback is its own",
    );
    assert.equal(await client.bind('0.0.0.0', 30080), 'bound', 'and so are its ports');
    for (const host of ['0.0.0.0', '::', v4, '127.0.0.1']) {
      assert.equal(await onNode.bind(host, 30080), 'EADDRINUSE', host);
    }
    assert.equal(await onNode.bind('0.0.0.0', 30081), 'bound');
    await agentLab.apply(
      'nodeport.yaml',
      service('nodeport', ['10.96.1.3'], {
        type: 'NodePort',
        ports: [{ port: 80, nodePort: 30081 }],
      }),
      slice('nodeport', setup.v4(1)),
    );
    assert.equal(await onNode.bind('0.0.0.0', 30080), 'bound');
    assert.equal(await onNode.bind('0.0.0.0', 30081), 'EADDRINUSE');
    assert.equal(await client.pod(v4, 30080), 'ECONNREFUSED');
    assert.equal(await client.pod(v4, 30081), backendNames(1)[0]);
  });

  test("a load balancer's address is served with ipMode VIP and not with Proxy", async () => {
    const { agentLab, client, onNode } = setup;
    const write = (ipMode?: string) =>
      agentLab.apply(
        'balancer.yaml',
        service(
          'balancer',
          ['10.96.1.4'],
          { type: 'LoadBalancer', ports: [{ port: 80, nodePort: 30090 }] },
          {
            status: {
              loadBalancer: {
                ingress: [{ ip: '203.0.113.4', ipMode }, { hostname: 'lb.example' }],
              },
            },
          },
        ),
        slice('balancer', setup.v4(1)),
      );
    const expected = { pod: backendNames(1)[0], from: '203.0.113.4 80' };
    for (const mode of ['VIP', undefined]) {
      await write(mode);
      assert.deepEqual(await client.tcp('203.0.113.4', 80), expected);
      assert.deepEqual(await onNode.tcp('203.0.113.4', 80), expected);
      assert.equal(await client.pod(agentLab.node.addresses.v4, 30090), backendNames(1)[0]);
    }
    await write('Proxy');
    assert.notEqual(await client.pod('203.0.113.4', 80), backendNames(1)[0]);
    assert.equal(await client.pod('10.96.1.4', 80), backendNames(1)[0]);
  });

  test("an externalIP is served, also if it is the node's, and refused if it is a pod's or a service's", async () => {
    const { agentLab, client, onNode } = setup;
    const victim = setup.v4(2)[0]!;
    const node = agentLab.node.addresses.v4;
    await agentLab.apply(
      'victim.yaml',
      service('victim', ['10.96.1.5']),
      slice('victim', [victim]),
    );
    await agentLab.apply(
      'external.yaml',
      service('external', ['10.96.1.6'], {
        ports: [{ port: ports.http }],
        externalIPs: ['203.0.113.6', victim, node, '10.96.1.5'],
      }),
      slice('external', setup.v4(1)),
    );
    assert.equal(await client.pod('203.0.113.6', ports.http), backendNames(1)[0]);
    assert.equal(
      await client.pod(victim, ports.http),
      backendNames(2)[0],
      "a pod's traffic stays its own",
    );
    assert.equal(await client.pod(node, ports.http), backendNames(1)[0]);
    assert.equal((await onNode.tcp(node, ports.http)).pod, backendNames(1)[0]);
    assert.equal(await client.pod('10.96.1.5', 80), backendNames(2)[0]);
    assert.equal(await client.pod('10.96.1.5', ports.http), 'ECONNREFUSED');
    const list = (await agentLab.heddle('service', 'list')) as { services: ServiceEntry[] };
    const row = list.services.find(({ name }) => name === 'external')!;
    assert.equal(row.status, 'done');
    assert.deepEqual(
      row.problems.map((problem) => problem.split(':')[0]).sort(),
      ['externalIP 10.96.1.5 is refused', `externalIP ${victim} is refused`].sort(),
    );
    // Another object may get the address later, and may be deleted.
    await agentLab.apply('late.yaml', service('late', ['203.0.113.6']), slice('late', setup.v4(3)));
    assert.equal(await client.pod('203.0.113.6', ports.http), 'ECONNREFUSED');
    assert.equal(await client.pod('203.0.113.6', 80), backendNames(3)[0]);
    agentLab.remove('late.yaml');
    await agentLab.until('the address to be free', async () => {
      return (await client.pod('203.0.113.6', ports.http)) === backendNames(1)[0];
    });
  });

  test('a renamed port is served without interruption', async () => {
    const { agentLab, client } = setup;
    const write = (name: string) =>
      agentLab.apply(
        'renamed.yaml',
        service('renamed', ['10.96.1.9'], { ports: [{ name, port: 80 }] }),
        slice('renamed', setup.v4(1), { ports: [{ name, port: ports.http }] }),
      );
    await write('a');
    let over = false;
    const connecting = (async () => {
      const pods = new Set<string>();
      while (!over) for (const pod of await client.pods('10.96.1.9', 80, 20)) pods.add(pod);
      return [...pods];
    })();
    for (const name of ['b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']) await write(name);
    over = true;
    assert.deepEqual(await connecting, backendNames(1));
  });

  test('a connection is refused at once when the last endpoint is removed', async () => {
    const { agentLab, client } = setup;
    await agentLab.apply(
      'empty.yaml',
      service('empty', ['10.96.1.7']),
      slice('empty', setup.v4(1)),
    );
    assert.equal(await client.pod('10.96.1.7', 80), backendNames(1)[0]);
    await agentLab.apply('empty.yaml', service('empty', ['10.96.1.7']));
    assert.deepEqual(distinct(await client.pods('10.96.1.7', 80, 20)), ['ECONNREFUSED']);
    const { refusals } = await agentLab.status();
    assert.ok(refusals.find(({ reason }) => reason === 'no endpoints')!.count >= 20);
  });

  test('other programs than the tests reach the service too', async () => {
    const { agentLab } = setup;
    await agentLab.apply(
      'http.yaml',
      service('http', ['10.96.1.8']),
      slice('http', setup.v4(3), { ports: [{ port: 80 }] }),
    );
    const url = 'http://10.96.1.8/name';
    const python = `import urllib.request; print(urllib.request.urlopen("${url}").read().decode())`;
    const programs: [string, string[]][] = [
      [process.execPath, ['-e', `fetch("${url}").then(async (r) => console.log(await r.text()))`]],
      ['/usr/bin/curl', ['-sS', '--max-time', '5', url]],
      ['/usr/bin/busybox', ['wget', '-q', '-O', '-', url]],
      ['/usr/bin/python3', ['-c', python]],
    ];
    for (const [command, args] of programs) {
      if (!existsSync(command)) continue;
      const text = await outputOf(agentLab.pod(0), command, args);
      assert.equal(text.trim(), backendNames(3)[0], command);
    }
  });
});
