import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError, readConfig } from './config.ts';

const file = (text: string) => ({ path: '/etc/heddle/agent.yaml', text });
const failure = (text: string, flags = {}) => {
  try {
    readConfig(file(text), flags);
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.message;
  }
  return assert.fail('was accepted');
};

describe('configuration', () => {
  it('has defaults for everything', () => {
    assert.deepEqual(readConfig(undefined, {}), {
      apiServers: [],
      bpffs: '/sys/fs/bpf',
      socket: '/run/heddle/agent.sock',
      logLevel: 'info',
      devices: 'auto',
      xdp: 'off',
      podDevices: 'none',
      forwarding: 'snat',
      snatPorts: '1024-29999',
      timeouts: {
        ...{ tcpHandshake: 60, tcpEstablished: 7440, tcpHalfClosed: 3600, tcpClosed: 60 },
        ...{ tcpReset: 10, udpUnanswered: 120, udp: 300, sctpHandshake: 60, sctp: 900, icmp: 60 },
      },
      nodePortAddresses: [],
      sourceRanges: 'everywhere',
      externalIPs: 'serve',
      ...{ network: false, sysctls: '/proc/sys/net', podCIDRs: [], routing: 'auto' },
      ...{ localCongestionControl: 'cubic', socketLB: 'all' },
      ...{ tunnelPort: 8472, podInterface: 'veth', masquerade: 'ipv4', nonMasqueradeCIDRs: [] },
      cni: {
        ...{ binDir: '/opt/cni/bin', configDir: '/etc/cni/net.d', socket: '/run/heddle/cni.sock' },
      },
      sizes: {
        ...{ services: 65536, servicesMax: 262144, backends: 131072, slots: 262144 },
        ...{ affinity: 65536, flows: 65536 },
        ...{ policySubjects: 1024, policyPeers: 131072, policyRanges: 65536 },
        ...{ policyPeerClasses: 4096, policyPortClasses: 2048 },
        ...{ policyNames: 1024, policyGrants: 65536 },
      },
      ...{ networkPolicy: true, policyOpenConnections: 'judge', policyDenyResponse: 'none' },
      dnsServers: [],
      visibility: false,
      options: { terminateTcp: false },
    });
  });

  it('takes flags over the file, field by field', () => {
    const config = readConfig(
      file('manifests: a\nnode: n1\nsizes: {services: 10, backends: 20}\nlogLevel: warn'),
      { manifests: 'b', 'sizes.backends': 30, logLevel: undefined },
    );
    assert.equal(config.manifests, 'b');
    assert.equal(config.node, 'n1');
    assert.equal(config.logLevel, 'warn');
    assert.deepEqual([config.sizes.services, config.sizes.backends], [10, 30]);
  });

  it('takes where to listen, or off', () => {
    const config = readConfig(undefined, { healthAddress: 'off', metricsAddress: '[::1]:9' });
    assert.deepEqual([config.healthAddress, config.metricsAddress], ['off', '[::1]:9']);
  });

  it('takes ranges and devices for NodePorts, and says what else to write', () => {
    const { nodePortAddresses } = readConfig(file('nodePortAddresses: [192.0.2.0/24, bond*]'), {});
    assert.deepEqual(nodePortAddresses, ['192.0.2.0/24', 'bond*']);
    const flags = { nodePortAddresses: ['fd00::/8'] };
    assert.deepEqual(
      readConfig(file('nodePortAddresses: [eth0]'), flags).nodePortAddresses,
      ['fd00::/8'],
      'a flag wins',
    );
    const problem = (entry: string) => failure(`nodePortAddresses: ["${entry}"]`);
    assert.equal(
      problem('192.0.2.0/33'),
      'read config /etc/heddle/agent.yaml: nodePortAddresses.0 is "192.0.2.0/33"; write a range of addresses such as 192.0.2.0/24 or fd00:1::/64',
    );
    assert.match(problem('192.0.2.1'), /for just this one 192\.0\.2\.1\/32$/);
    assert.match(problem('fd00:0::1'), /for just this one fd00::1\/128$/);
    assert.match(
      problem('primary'),
      /leave it out: the InternalIP and ExternalIP are the default$/,
    );
    assert.match(problem(''), /or the name of a network interface$/);
    assert.match(failure('nodePortAddresses: 192.0.2.0/24'), /write a list such as \[/);
    assert.match(failure('nodePortAddresses: [1]'), /nodePortAddresses\.0 is 1; write a list/);
  });

  it('takes a field that is null as not set', () => {
    const config = readConfig(file('xdp: null\nsizes: { slots: null, flows: 5 }\ntimeouts:'), {});
    assert.deepEqual([config.xdp, config.sizes.slots, config.sizes.flows], ['off', 262144, 5]);
    assert.equal(config.timeouts.udp, 300);
  });

  const cases: [string, string, RegExp][] = [
    [
      'an empty folder name',
      'manifests: ""',
      /manifests is ""; give the folder with the manifests/,
    ],
    [
      'a folder and a kubeconfig',
      'manifests: m\nkubeconfig: k',
      /both manifests and kubeconfig are given; .* leave one out/,
    ],
    [
      'a folder and an API server',
      'manifests: m\napiServers: [https://a]',
      /both manifests and apiServers are given/,
    ],
    [
      'pods whose connections nothing translates',
      'socketLB: hostNamespaceOnly',
      /nothing translates the connections of pods to services; also set network: true, or podDevices/,
    ],
    [
      'an API server that is no URL',
      'apiServers: [a:1]',
      /apiServers\.0 is "a:1"; write a URL such/,
    ],
    [
      'API servers that are no list',
      'apiServers: https://a',
      /apiServers is .*; write a list of URLs/,
    ],
    [
      'a name to listen on',
      'healthAddress: localhost:1',
      /healthAddress is "localhost:1"; write an IP/,
    ],
    ['a port to listen on', 'metricsAddress: 10249', /metricsAddress is 10249; write an IP/],
    [
      'a size of 0',
      'manifests: m\nsizes: {slots: 0}',
      /sizes\.slots is 0; write a whole number from 1/,
    ],
    [
      'a size that is text',
      'manifests: m\nsizes: {slots: many}',
      /sizes\.slots is "many"; write a whole/,
    ],
    ['half a size', 'manifests: m\nsizes: {slots: 1.5}', /sizes\.slots is 1\.5; write a whole/],
    ['sizes that are a number', 'manifests: m\nsizes: 3', /sizes is 3; write a mapping/],
    ['a timeout of 0', 'timeouts: {udp: 0}', /timeouts\.udp is 0; write a whole number of seconds/],
    [
      'a timeout beyond what the BPF programs count',
      'timeouts: {tcpEstablished: 43201}',
      /timeouts\.tcpEstablished is 43201; write a whole number of seconds from 1 to 43200/,
    ],
    [
      'timeouts that are one',
      'timeouts: 30',
      /timeouts is 30; write a mapping with the fields tcpHandshake, /,
    ],
    [
      'a timeout for what has none',
      'timeouts: {igmp: 3}',
      /no field is called timeouts\.igmp; .*timeouts\.udp/,
    ],
    ['no mode of XDP', 'xdp: fast', /xdp is "fast"; write off, generic, native or best-effort/],
    ['ports that are one', 'snatPorts: 2000', /snatPorts is 2000; write the first and the last/],
    [
      'ports that begin too low',
      'snatPorts: 80-2000',
      /snatPorts is "80-2000"; .*of 1024 to 65535/,
    ],
    [
      'ports the wrong way round',
      'snatPorts: 3000-2000',
      /snatPorts is "3000-2000"; write the first and the last port, e\.g\. 1024-29999/,
    ],
    [
      'a level that is none',
      'manifests: m\nlogLevel: loud',
      /logLevel is "loud"; write debug, info/,
    ],
    [
      'an unknown field',
      'manifests: m\nmanifest: x',
      /no field is called manifest; remove it or use one of/,
    ],
    ['an unknown inner field', 'manifests: m\nsizes: {pods: 1}', /no field is called sizes\.pods;/],
    [
      'yes for true',
      'manifests: m\noptions: {terminateTcp: "yes"}',
      /terminateTcp is "yes"; write true or false/,
    ],
    [
      'a relative socket',
      'manifests: m\nsocket: a.sock',
      /socket is "a\.sock"; write an absolute path/,
    ],
    ['a long socket', `manifests: m\nsocket: /${'x'.repeat(110)}`, /socket is .*at most 107 bytes/],
    ['a bad node name', 'manifests: m\nnode: My Node', /node is "My Node"; write the name/],
    ['broken YAML', 'manifests: [', /read config \/etc\/heddle\/agent\.yaml: not YAML in line 1: /],
    ['a list', '- a', /the file holds a list; write a mapping of fields/],
  ];
  for (const [what, text, expected] of cases) {
    it(`refuses ${what}`, () => assert.match(failure(text), expected));
  }

  it('names every mistake at once, and says which came from a flag', () => {
    const message = failure('manifests: 3\nlogLevel: loud', { 'sizes.affinity': Number.NaN });
    assert.deepEqual(
      message.split('\n').map((line) => line.slice(0, 40)),
      [
        'read config /etc/heddle/agent.yaml: mani',
        'read config /etc/heddle/agent.yaml: logL',
        'read flags: sizes.affinity is null; writ',
      ],
    );
  });

  it('reads or refuses with a ConfigError, whatever the file holds', () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .array(
          fc.constantFrom('a: &x', '*x', '\n', '- ', '{', '}', '  ', '!!binary', '"', 'sizes:'),
        )
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (content) => {
        try {
          readConfig(file(content), {});
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error));
        }
      }),
      { numRuns: 300 },
    );
  });
});
