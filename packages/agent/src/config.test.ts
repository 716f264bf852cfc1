import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError, configFields, readConfig } from './config.ts';

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
      forwarding: 'snat',
      sizes: { services: 65536, backends: 131072, slots: 262144, affinity: 65536, flows: 65536 },
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

  it('documents every field', () => {
    const fields = configFields();
    assert.deepEqual(
      fields.map((field) => field.name),
      [
        'manifests',
        'kubeconfig',
        'context',
        'apiServers',
        'healthAddress',
        'metricsAddress',
        'node',
        'cgroup',
        'bpffs',
        'socket',
        'logLevel',
        'devices',
        'sizes.services',
        'sizes.backends',
        'sizes.slots',
        'sizes.affinity',
        'sizes.flows',
        'options.terminateTcp',
      ],
    );
    for (const { name, about } of fields) assert.ok(about.length > 20, name);
    assert.equal(fields.find(({ name }) => name === 'sizes.slots')?.fallback, 262144);
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
