import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findFault, settings } from '@heddle/agent/settings';
import {
  allSettings,
  deploymentSettings,
  readSettings,
  SettingError,
  schemaOf,
} from './settings.ts';

const read = (...assignments: string[]) => readSettings(assignments, '1.2.3');

const defaultSizes = {
  ...{ services: 65536, servicesMax: 262144, backends: 131072, slots: 262144 },
  ...{ affinity: 65536, flows: 65536 },
  ...{
    policySubjects: 1024,
    policyPeers: 131072,
    policyRanges: 65536,
    policyPeerClasses: 4096,
    policyPortClasses: 2048,
    policyNames: 1024,
    policyGrants: 65536,
  },
};

test('without --set, settings have their defaults, which their schemas allow', () => {
  const values = read();
  assert.equal(values.image, 'heddle:1.2.3');
  assert.equal(values.metricsAddress, '127.0.0.1:10249');
  assert.deepEqual(values.sizes, defaultSizes);
  for (const [name, entry] of Object.entries(allSettings('1.2.3'))) {
    if (values[name] === undefined) continue;
    assert.equal(findFault(values[name], schemaOf(entry), name), undefined);
  }
});

test('settings that the DaemonSet sets itself cannot be set', () => {
  assert.ok('bpffs' in settings);
  assert.ok(!('bpffs' in read()));
  assert.throws(() => read('bpffs=/x'), /^SettingError: set bpffs: there is no such setting; /);
});

describe('--set', () => {
  for (const [assignment, name, value] of [
    [
      'image=registry.example:5000/net/heddle@sha256:0a',
      'image',
      'registry.example:5000/net/heddle@sha256:0a',
    ],
    [
      'apiServers=https://192.0.2.1:6443,https://[fd00::1]:6443',
      'apiServers',
      ['https://192.0.2.1:6443', 'https://[fd00::1]:6443'],
    ],
    ['apiServers=["https://a.example"]', 'apiServers', ['https://a.example']],
    ['apiServers=', 'apiServers', []],
    [
      'nodeSelector=kubernetes.io/os=linux,pool=a',
      'nodeSelector',
      { 'kubernetes.io/os': 'linux', pool: 'a' },
    ],
    ['nodeSelector={"pool":""}', 'nodeSelector', { pool: '' }],
    [
      'tolerations=[{"key":"a","operator":"Equal","value":"b","effect":"NoExecute","tolerationSeconds":5}]',
      'tolerations',
      [{ key: 'a', operator: 'Equal', value: 'b', effect: 'NoExecute', tolerationSeconds: 5 }],
    ],
    ['devices=eth0,bond*', 'devices', 'eth0,bond*'],
    ['sizes.slots=1000000', 'sizes', { ...defaultSizes, slots: 1000000 }],
    ['healthPort=20256', 'healthPort', 20256],
    ['metricsAddress=[::1]:10249', 'metricsAddress', '[::1]:10249'],
    [
      'resources={"limits":{"memory":"1.5Gi","cpu":1}}',
      'resources',
      { limits: { memory: '1.5Gi', cpu: 1 } },
    ],
    [
      'resources.limits={"cpu":"1"}',
      'resources',
      { requests: deploymentSettings.resources.fallback.requests, limits: { cpu: '1' } },
    ],
    ['updateStrategy={"type":"OnDelete"}', 'updateStrategy', { type: 'OnDelete' }],
  ] as const) {
    test(assignment, () => assert.deepEqual(read(assignment)[name], value));
  }

  test('the last value of a name applies, and fields of one setting are merged', () => {
    const { logLevel, sizes } = read(
      'logLevel=debug',
      'sizes.slots=1',
      'logLevel=warn',
      'sizes.services=2',
    );
    assert.equal(logLevel, 'warn');
    assert.deepEqual(sizes, { ...defaultSizes, services: 2, slots: 1 });
    assert.deepEqual(read('sizes={"slots":1}').sizes, { ...defaultSizes, slots: 1 });
  });
});

describe('an invalid value gives a message with the remedy', () => {
  for (const [assignment, message] of [
    ['image', /^set image: there is no value; write name=value$/],
    ['=x', /^set =x: there is no value/],
    [
      'imag=x',
      /^set imag: there is no such setting; there are image, namespace, .*apiServers, .*sizes\.services, .*resources\.limits/,
    ],
    ['__proto__=x', /there is no such setting/],
    ['sizes.socks=1', /^set sizes\.socks: sizes has no field socks; there are /],
    ['image.tag=1', /^set image\.tag: image has no field tag; /],
    ['image=a b', /^set image: "a b" can't be used; write the name of an image/],
    ['namespace=Kube', /^set namespace: "Kube" can't be used; write the name of a namespace/],
    [
      'apiServers=10.0.0.1:6443',
      /^set apiServers\.0: "10\.0\.0\.1:6443" can't be used; write a URL such as/,
    ],
    ['nodeSelector=linux', /^set nodeSelector: "linux" is no object; write label=value/],
    ['tolerations=[{"kye":"a"}]', /^set tolerations\.0: there is no field kye; write a JSON list/],
    ['tolerations=[{"operator":"exists"}]', /^set tolerations\.0\.operator: "exists" is not known/],
    ['tolerations=[', /^set tolerations: "\[" is no array/],
    ['logLevel=loud', /^set logLevel: "loud" is not known; write debug, info, warn or error$/],
    [
      'sizes.slots=0',
      /^set sizes\.slots: 0 is out of range; write a whole number from 1 to 4294967295$/,
    ],
    ['sizes.slots=4294967296', /^set sizes\.slots: 4294967296 is out of range/],
    ['sizes.slots=1e3', /^set sizes\.slots: "1e3" is no integer/],
    ['sizes={"slot":1}', /^set sizes: there is no field slot; write JSON with some of services, /],
    [
      'snatPorts=3000-2000',
      /^set snatPorts: "3000-2000" can't be used; write the first and the last/,
    ],
    ['devices=eth0 eth1', /^set devices: "eth0 eth1" can't be used; write auto, none, or names/],
    ['healthPort=70000', /^set healthPort: 70000 is out of range; write a port$/],
    [
      'metricsAddress=10249',
      /^set metricsAddress: "10249" can't be used; write an IP address and a port/,
    ],
    ['cgroup=sys', /^set cgroup: "sys" can't be used; write an absolute path$/],
    [
      'resources={"requests":{"memory":"1 GB"}}',
      /^set resources\.requests\.memory: "1 GB" can't be used/,
    ],
    ['updateStrategy={"type":"Recreate"}', /^set updateStrategy\.type: "Recreate" is not known/],
    [
      'updateStrategy={"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}',
      /^set updateStrategy\.rollingUpdate: there is no field maxSurge/,
    ],
  ] as const) {
    test(assignment, () => {
      assert.throws(
        () => read(assignment),
        (error) => {
          assert.ok(error instanceof SettingError);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});
