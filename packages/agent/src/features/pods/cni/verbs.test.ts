// The specification of CNI as a table: each verb with each version, and each error.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NetworkNamespace } from '@heddle/netlink';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { cniVersions } from './call.ts';
import { CniError } from './errors.ts';
import type { AddedPod } from './result.ts';
import { answerCall, type CniHandler } from './verbs.ts';

const namespace = {} as NetworkNamespace;
const pod: AddedPod = {
  ...{ kind: 'veth', name: 'hd0000000000001', interfaceName: 'eth0', mac: '02:00:00:00:00:02' },
  ...{ mtu: 1450, addresses: ['10.7.0.2', 'fd00:7::2'], netns: '/run/netns/a' },
};
const environment = {
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/a',
  CNI_IFNAME: 'eth0',
  CNI_PATH: '/opt/cni/bin',
};
const prevResult = { ips: [{ address: '10.7.0.2/32', interface: 1 }] };

/** Notes what it is called with. */
class TestHandler implements CniHandler {
  hold() {
    return undefined;
  }

  giveUp() {
    return new CniError('tryAgain', 'connect pod: its policies are not known');
  }

  readonly calls: unknown[] = [];
  notReady: string | undefined;
  unavailable: string | undefined;
  isStarting = false;
  error: Error | undefined;

  add(call: { readonly containerId: string }): AddedPod {
    this.#note('add', call.containerId);
    return pod;
  }

  remove({ containerId, interfaceName }: { containerId: string; interfaceName: string }): void {
    this.#note('remove', containerId, interfaceName);
  }

  check(_call: unknown, _namespace: unknown, addresses: readonly string[]): void {
    this.#note('check', ...addresses);
  }

  collect(valid: readonly unknown[]): void {
    this.#note('collect', valid);
  }

  #note(...call: readonly unknown[]): void {
    if (this.error) throw this.error;
    this.calls.push(call);
  }
}

interface Call {
  readonly verb?: string;
  readonly version?: unknown;
  readonly config?: object;
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly namespace?: NetworkNamespace | undefined;
  readonly handler?: TestHandler;
}

interface Answer {
  /** The first byte: `0` for success. */
  readonly first: string;
  readonly isSuccess: boolean;
  readonly output: { readonly code: number; readonly msg: string; readonly cniVersion: string };
}

function call(options: Call): Answer {
  const { verb = 'ADD', version = '1.1.0', config = {}, handler = new TestHandler() } = options;
  const variables = { CNI_COMMAND: verb, ...environment, ...options.environment };
  const entries = Object.entries(variables)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}\0`);
  const input =
    options.input ??
    JSON.stringify({ cniVersion: version, name: 'heddle', type: 'heddle-cni', ...config });
  const bytes = encodeUtf8(`${entries.join('')}\0${input}`);
  const given = 'namespace' in options ? options.namespace : namespace;
  const text = decodeUtf8(answerCall(bytes, given, handler).bytes);
  const output = text.length > 1 ? JSON.parse(text.slice(1)) : undefined;
  return { first: text[0]!, isSuccess: text[0] === '0', output };
}

test('ADD answers in the format of each version', () => {
  const results = cniVersions.map((version) => call({ version }).output);
  const [v031, v040, v100, v110] = results as unknown as [object, object, object, object];
  const interfaces = (mtu: object) => [
    { name: pod.name, mac: '02:68:65:64:64:01', ...mtu },
    { name: 'eth0', mac: pod.mac, ...mtu, sandbox: '/run/netns/a' },
  ];
  const v4 = { address: '10.7.0.2/32', gateway: '169.254.1.1', interface: 1 };
  const v6 = { address: 'fd00:7::2/128', gateway: 'fe80::1', interface: 1 };
  const common = {
    routes: [
      { dst: '0.0.0.0/0', gw: '169.254.1.1' },
      { dst: '::/0', gw: 'fe80::1' },
    ],
    dns: {},
  };
  const old = {
    ...common,
    interfaces: interfaces({}),
    ips: [
      { version: '4', ...v4 },
      { version: '6', ...v6 },
    ],
  };
  assert.deepEqual(v031, { cniVersion: '0.3.1', ...old });
  assert.deepEqual(v040, { cniVersion: '0.4.0', ...old });
  const modern = { ...common, interfaces: interfaces({}), ips: [v4, v6] };
  assert.deepEqual(v100, { cniVersion: '1.0.0', ...modern });
  const newest = { ...modern, cniVersion: '1.1.0', interfaces: interfaces({ mtu: 1450 }) };
  assert.deepEqual(v110, newest);
});

test('each verb exists from its version on', () => {
  for (const [verb, since] of [
    ['ADD', '0.3.1'],
    ['DEL', '0.3.1'],
    ['CHECK', '0.4.0'],
    ['GC', '1.1.0'],
    ['STATUS', '1.1.0'],
    ['VERSION', '0.3.1'],
  ] as const) {
    for (const version of cniVersions) {
      const { isSuccess, output } = call({
        verb,
        version,
        config: verb === 'CHECK' ? { prevResult } : {},
      });
      const exists = cniVersions.indexOf(version) >= cniVersions.indexOf(since);
      assert.equal(isSuccess, exists, `${verb} ${version}`);
      if (!exists) assert.deepEqual([output.code, output.cniVersion], [1, version]);
      else if (verb !== 'ADD' && verb !== 'VERSION') assert.equal(output, undefined);
    }
  }
});

test('VERSION lists the versions', () => {
  assert.deepEqual(call({ verb: 'VERSION', version: '0.4.0' }).output, {
    cniVersion: '0.4.0',
    supportedVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'],
  });
});

test('what cannot be used is refused with the code of the specification', () => {
  const withEnvironment = (variables: Call['environment']): Call => ({ environment: variables! });
  const cases: readonly (readonly [name: string, call: Call, code: number, message: RegExp])[] = [
    ['unknown version', { version: '0.2.0' }, 1, /cniVersion is "0\.2\.0"; use one of 0\.3\.1/],
    ['no version', { config: { cniVersion: undefined } }, 1, /cniVersion is absent/],
    ['version 2', { version: '2.0.0' }, 1, /cniVersion is "2\.0\.0"/],
    ['ipam', { config: { ipam: { type: 'host-local' } } }, 2, /ipam is {"type":"host-local"}/],
    ['ipMasq', { config: { ipMasq: true } }, 2, /ipMasq is true/],
    ['no command', withEnvironment({ CNI_COMMAND: undefined }), 4, /read CNI_COMMAND: it is empty/],
    ['other command', { verb: 'MOVE' }, 4, /read CNI_COMMAND: it is MOVE/],
    [
      'no container',
      withEnvironment({ CNI_CONTAINERID: '' }),
      4,
      /CNI_CONTAINERID: nothing is no id/,
    ],
    ['bad container', withEnvironment({ CNI_CONTAINERID: '../x' }), 4, /"\.\.\/x" is no id/],
    ['no interface', withEnvironment({ CNI_IFNAME: '' }), 4, /read CNI_IFNAME: nothing is no name/],
    ['bad interface', withEnvironment({ CNI_IFNAME: 'a/b' }), 4, /"a\/b" is no name/],
    ['long interface', withEnvironment({ CNI_IFNAME: 'x'.repeat(16) }), 4, /is no name/],
    ['no namespace', withEnvironment({ CNI_NETNS: '' }), 4, /read CNI_NETNS: it is empty/],
    ['no descriptor', { namespace: undefined }, 4, /CNI_NETNS: \/run\/netns\/a cannot be opened/],
    [
      'bad arguments',
      withEnvironment({ CNI_ARGS: 'a;b' }),
      4,
      /read CNI_ARGS: "a" is no NAME=VALUE/,
    ],
    ['no JSON', { input: '{' }, 6, /it is not JSON/],
    ['a list', { input: '[]' }, 6, /it is no JSON object/],
    ['no name', { config: { name: '' } }, 7, /name is missing/],
    ['not the first', { config: { prevResult: {} } }, 7, /has to be the first of the list/],
    ['CHECK alone', { verb: 'CHECK' }, 7, /the configuration has no prevResult/],
    [
      'bad list',
      { verb: 'GC', config: { 'cni.dev/valid-attachments': 7 } },
      7,
      /is no list of att/,
    ],
  ];
  for (const [name, options, code, message] of cases) {
    const { isSuccess, output } = call(options);
    assert.equal(isSuccess, false, name);
    assert.equal(output.code, code, name);
    assert.match(output.msg, message, name);
    assert.ok(cniVersions.includes(output.cniVersion as never), name);
  }
});

test('DEL needs no namespace and no name of the network', () => {
  const handler = new TestHandler();
  const { isSuccess } = call({
    ...{ verb: 'DEL', handler, namespace: undefined },
    environment: { CNI_NETNS: '' },
    input: '{"cniVersion":"1.0.0"}',
  });
  assert.equal(isSuccess, true);
  assert.deepEqual(handler.calls, [['remove', 'c1', 'eth0']]);
});

test('ADD waits with code 11, and STATUS reports code 50', () => {
  const handler = new TestHandler();
  handler.notReady = handler.unavailable = 'the agent has not read all objects yet';
  assert.equal(call({ handler }).output.code, 11);
  assert.equal(call({ verb: 'STATUS', handler }).output.code, 50);
  handler.notReady = undefined;
  assert.equal(call({ handler }).isSuccess, true);
  assert.equal(call({ verb: 'STATUS', handler }).output.code, 50);
});

test('STATUS reports an agent that starts in another way than one that cannot connect pods', () => {
  const handler = new TestHandler();
  const statusOf = (unavailable: string | undefined, isStarting: boolean) => {
    Object.assign(handler, { unavailable, isStarting });
    const { first, output } = call({ verb: 'STATUS', handler });
    return [first, output?.code];
  };
  assert.deepEqual(statusOf('the agent has not read all objects yet', true), ['2', 50]);
  assert.deepEqual(statusOf('all addresses are used', false), ['1', 50]);
  assert.deepEqual(statusOf(undefined, false), ['0', undefined]);
});

test('GC without a list of valid attachments removes nothing', () => {
  const handler = new TestHandler();
  assert.equal(call({ verb: 'GC', handler }).isSuccess, true);
  const valid = [{ containerID: 'c1', ifname: 'eth0' }];
  call({ verb: 'GC', handler, config: { 'cni.dev/valid-attachments': valid } });
  call({ verb: 'GC', handler, config: { 'cni.dev/valid-attachments': [] } });
  assert.deepEqual(handler.calls, [
    ['collect', [{ containerId: 'c1', interfaceName: 'eth0' }]],
    ['collect', []],
  ]);
});

test('CHECK gets the addresses of prevResult', () => {
  const handler = new TestHandler();
  call({ verb: 'CHECK', handler, config: { prevResult } });
  assert.deepEqual(handler.calls, [['check', '10.7.0.2']]);
});

test('an error of the work is answered with code 100', () => {
  const handler = new TestHandler();
  handler.error = new Error('create veth: no memory');
  const { output } = call({ handler });
  assert.deepEqual([output.code, output.msg], [100, 'create veth: no memory']);
});

test('any bytes get an answer', () => {
  const text = fc.oneof(fc.string(), fc.json(), fc.constantFrom('ADD', '1.1.0', '', 'CNI_COMMAND'));
  const message = fc
    .tuple(
      fc.array(fc.tuple(fc.constantFrom(...Object.keys(environment), 'CNI_COMMAND'), text)),
      text,
    )
    .map(([entries, input]) =>
      encodeUtf8(`${entries.map(([name, value]) => `${name}=${value}\0`).join('')}\0${input}`),
    );
  fc.assert(
    fc.property(fc.oneof(message, fc.uint8Array()), (bytes) => {
      const { bytes: answer } = answerCall(bytes, namespace, new TestHandler());
      assert.ok(answer[0] === 0x30 || answer[0] === 0x31);
    }),
  );
});
