// The CNI plug-in, each verb with each version, and each way in which an agent fails.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import {
  createVeth,
  deleteNamespace,
  findLink,
  NetlinkSocket,
  NetworkNamespace,
} from '@heddle/netlink';
import { nodePlatform } from '@heddle/sys/node';
import fc from 'fast-check';
import { callPlugin, FakeAgent, type Outcome } from '../testing/cni-call.ts';
import { cniPlugin } from './index.ts';

const platform = nodePlatform();
const folder = mkdtempSync(`${tmpdir()}/heddle-cni-`);
const plugin = `${folder}/heddle-cni`;
writeFileSync(plugin, cniPlugin(platform.arch), { mode: 0o755 });
/** The network namespace in which the plug-in runs, that of the node. */
const namespace = NetworkNamespace.create(platform);
const netlink = namespace.enter(() => new NetlinkSocket(platform));
after(() => {
  netlink[Symbol.dispose]();
  namespace[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

const versions = ['0.3.1', '0.4.0', '1.0.0', '1.1.0'];
const verbs = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'];
const attachment = {
  CNI_CONTAINERID: 'c0ffee',
  CNI_NETNS: '/proc/self/ns/net',
  CNI_IFNAME: 'eth0',
};

/** Returns the name of the pod interface. */
function interfaceName({ CNI_CONTAINERID: container, CNI_IFNAME: name } = attachment): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(`${container}/${name}`)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return `hd${BigInt.asUintN(52, hash).toString(16).padStart(13, '0')}`;
}

const hasInterface = () => findLink(netlink, interfaceName()) !== undefined;

function makeInterface(): void {
  if (!hasInterface()) createVeth(netlink, { name: interfaceName() }, { name: 'peer' });
}

interface Options {
  readonly verb: string;
  readonly version?: string;
  readonly socket?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly config?: object;
  readonly input?: string;
  readonly command?: readonly string[];
}

/** Calls the plug-in in the namespace of the node. */
function call(options: Options): Promise<Outcome> {
  const { verb, version = '1.1.0', socket, environment = attachment } = options;
  const config = { cniVersion: version, name: 'heddle', socket, ...options.config };
  return namespace.enter(
    () =>
      // The promise is not awaited inside of the namespace.
      [
        callPlugin({
          command: options.command ?? [plugin],
          environment: { CNI_COMMAND: verb, ...environment },
          input: options.input ?? JSON.stringify(config),
        }),
      ] as const,
  )[0];
}

/** Returns the parts of an error that an outcome has. */
function errorOf({ status, output }: Outcome) {
  assert.equal(status, 1, output);
  const { cniVersion, code, msg, details } = JSON.parse(output);
  assert.ok(typeof msg === 'string' && msg !== '', output);
  return { cniVersion, code, msg, details };
}

const result = (version: string) =>
  JSON.stringify({ cniVersion: version, interfaces: [], ips: [{ address: '10.7.0.2/32' }] });
const refusal = JSON.stringify({ cniVersion: '1.0.0', code: 7, msg: 'the "agent" refuses' });

/** Checks what the plug-in does when no agent answers, with an interface to delete. */
async function checkWithoutAgent(verb: string, version: string, socket: string): Promise<void> {
  makeInterface();
  const outcome = await call({ verb, version, socket });
  const context = `${verb} ${version}`;
  assert.equal(hasInterface(), verb !== 'DEL', context);
  if (verb === 'DEL' || verb === 'GC') {
    assert.deepEqual(outcome, { status: 0, output: '' }, context);
  } else if (verb === 'VERSION') {
    assert.deepEqual(JSON.parse(outcome.output), {
      cniVersion: version,
      supportedVersions: versions,
    });
    assert.equal(outcome.status, 0);
  } else {
    const { cniVersion, code, details } = errorOf(outcome);
    assert.deepEqual([cniVersion, code], [version, verb === 'STATUS' ? 50 : 11], context);
    assert.ok(details.startsWith(`${socket}: `), details);
  }
}

/** Runs a check for each verb and version. */
async function forAll(check: (verb: string, version: string) => Promise<void>): Promise<void> {
  for (const version of versions) for (const verb of verbs) await check(verb, version);
}

let sockets = 0;
/** Returns the path of a new socket. */
const socketPath = () => `${folder}/${sockets++}.sock`;

test('the CNI plug-in prints the answer of the agent to each verb and version', async () => {
  const socket = socketPath();
  await using agent = await FakeAgent.listen(socket, (connection, { environment, input }) => {
    const { cniVersion } = JSON.parse(input);
    connection.end(environment.CNI_COMMAND === 'ADD' ? `0${result(cniVersion)}` : '0');
  });
  await forAll(async (verb, version) => {
    makeInterface();
    const outcome = await call({ verb, version, socket });
    const expected = verb === 'ADD' ? result(version) : '';
    if (verb !== 'VERSION') assert.deepEqual(outcome, { status: 0, output: expected }, verb);
    assert.equal(hasInterface(), verb !== 'DEL', `${verb} ${version}`);
  });
  // VERSION does not reach the agent.
  assert.equal(agent.requests.length, versions.length * (verbs.length - 1));
});

test('the CNI plug-in prints the error of the agent and deletes nothing', async () => {
  const socket = socketPath();
  await using _ = await FakeAgent.listen(socket, (connection) => connection.end(`1${refusal}`));
  await forAll(async (verb, version) => {
    makeInterface();
    const outcome = await call({ verb, version, socket });
    if (verb !== 'VERSION') assert.deepEqual(outcome, { status: 1, output: refusal }, verb);
    assert.ok(hasInterface());
  });
});

test('the CNI plug-in acts alone where there is no socket', async () => {
  await forAll((verb, version) => checkWithoutAgent(verb, version, socketPath()));
});

test('the CNI plug-in acts alone where no process listens', async () => {
  const socket = socketPath();
  const bind = `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 9))`;
  spawnSync(process.execPath, ['-e', bind]);
  await forAll((verb, version) => checkWithoutAgent(verb, version, socket));
});

const incomplete: Readonly<Record<string, (connection: Socket) => void>> = {
  'closes the connection': (connection) => connection.end(),
  'resets the connection': (connection) => connection.destroy(),
  'answers with garbage': (connection) => connection.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'answers with garbage after the first byte': (connection) => connection.end('0hello'),
  'answers half of a result': (connection) => connection.end(`0${result('1.1.0').slice(0, -9)}`),
  'answers half of an error': (connection) => connection.end(`1${refusal.slice(0, 40)}`),
  'answers a failure without an error': (connection) => connection.end('1'),
  'answers two results': (connection) => connection.end('0{}{}'),
};
for (const [what, answer] of Object.entries(incomplete)) {
  test(`the CNI plug-in acts alone where the agent ${what}`, async () => {
    const socket = socketPath();
    await using _ = await FakeAgent.listen(socket, answer);
    await forAll((verb, version) => checkWithoutAgent(verb, version, socket));
  });
}

test('the CNI plug-in acts alone where the agent answers a success without a result of ADD', async () => {
  const socket = socketPath();
  await using _ = await FakeAgent.listen(socket, (connection) => connection.end('0'));
  for (const version of versions) await checkWithoutAgent('ADD', version, socket);
});

test('the CNI plug-in acts alone where the agent is silent', async () => {
  const [silent, slow] = [socketPath(), socketPath()];
  await using _silent = await FakeAgent.listen(silent, () => {});
  await using _slow = await FakeAgent.listen(slow, (connection) => connection.write('0'));
  makeInterface();
  // ADD waits for 20 s, the others for 2 s.
  for (const socket of [silent, slow]) {
    const calls = ['DEL', 'CHECK', 'GC', 'STATUS'].map((verb) => call({ verb, socket }));
    const outcomes = await Promise.all(calls);
    const codes = outcomes.map(({ output }) => output && JSON.parse(output).code);
    // An answer of one byte is whole, so the agent that does not close its end has succeeded.
    assert.deepEqual(codes, socket === silent ? ['', 11, '', 50] : ['', '', '', '']);
  }
  assert.ok(!hasInterface());
});

test('the CNI plug-in names the variables that a verb lacks', async () => {
  const needs: Readonly<Record<string, readonly string[]>> = {
    ...{ ADD: Object.keys(attachment), CHECK: Object.keys(attachment) },
    ...{ DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'], GC: [], STATUS: [], VERSION: [] },
  };
  const socket = socketPath();
  await using agent = await FakeAgent.listen(socket, (connection) => connection.end('0{}'));
  for (const verb of verbs) {
    for (const left of [undefined, ...Object.keys(attachment)]) {
      for (const value of [undefined, '']) {
        const entries = Object.entries(attachment).map(([name, full]) =>
          left === undefined || left === name ? [name, value] : [name, full],
        );
        const environment = Object.fromEntries(entries.filter(([, text]) => text !== undefined));
        const missing = needs[verb]!.filter((name) => !environment[name]);
        const outcome = await call({ verb, version: '0.4.0', environment, socket });
        if (missing.length === 0) {
          assert.equal(outcome.status, 0);
          continue;
        }
        const { cniVersion, code, msg } = errorOf(outcome);
        assert.deepEqual([cniVersion, code], ['0.4.0', 4]);
        assert.deepEqual(msg.match(/CNI_\w+/g), missing);
      }
    }
  }
  for (const { environment } of agent.requests) assert.notEqual(environment.CNI_COMMAND, 'ADD');
});

test('the CNI plug-in refuses an unknown verb', async () => {
  for (const verb of ['', 'add', 'ADDX', 'AD', 'UPDATE', '"\\\n\x01é'.repeat(100)]) {
    const { code, msg } = errorOf(await call({ verb, version: '1.0.0' }));
    assert.equal(code, 4);
    assert.match(msg, /CNI_COMMAND/);
  }
});

test('the CNI plug-in takes the version from the configuration itself', async () => {
  const versionOf = async (input: string) =>
    errorOf(await call({ verb: 'ADD', environment: {}, input })).cniVersion;
  const inner = '"prevResult":{"cniVersion":"0.4.0","x":["}",{"cniVersion":"0.4.0"}]}';
  assert.equal(await versionOf(`{${inner},"cniVersion":"1.0.0"}`), '1.0.0');
  assert.equal(await versionOf(` {"cniVersion" :\n"1.0.0",${inner}}\n`), '1.0.0');
  assert.equal(await versionOf(`{"a":"cniVersion","b":"\\"","cniVersion":"0.3.1"}`), '0.3.1');
  assert.equal(await versionOf(`{${inner}}`), '1.1.0');
  for (const other of ['9', '9.9.9']) {
    assert.equal(await versionOf(`{"cniVersion":"${other}"}`), other);
  }
  const unusable = ['', '{', '[]', 'null', '{"cniVersion":1}', '{"cniVersion":"1.0', '{"a":"\\'];
  unusable.push(
    '{"cniVersion":""}',
    `{"cniVersion":"${'1'.repeat(40)}"}`,
    '{"cniVersion":"\\u0031"}',
  );
  for (const input of unusable) assert.equal(await versionOf(input), '1.1.0', input);
});

test('the CNI plug-in finds the version in any object, and no object in a part of one', async () => {
  const key = fc.constantFrom('cniVersion', 'type', 'plugins', '', 'a"b', '\\', 'x:y', '{');
  const version = fc.constantFrom('0.3.1', '1.0.0', '1.0.0"', '', 'é', '{"cniVersion":"0.4.0"}');
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.oneof(version, fc.integer(), fc.boolean(), fc.constant(null)),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(key, tie('value'), { maxKeys: 4 }),
    ),
  }));
  const object = fc.dictionary(key, value, { maxKeys: 5 }) as fc.Arbitrary<{
    cniVersion?: unknown;
  }>;
  const spaces = fc.constantFrom(0, 1, '\t');
  const property = fc.asyncProperty(object, spaces, fc.nat(), async (config, indent, cut) => {
    const input = JSON.stringify(config, undefined, indent);
    const { cniVersion } = config;
    const isPlain = typeof cniVersion === 'string' && /^[0-9.]+$/.test(cniVersion);
    const whole = await call({ verb: 'VERSION', input });
    // Another plug-in's name makes no difference for VERSION.
    assert.equal(JSON.parse(whole.output).cniVersion, isPlain ? cniVersion : '1.1.0');
    const part = input.slice(0, 1 + (cut % (input.length - 1)));
    assert.equal(errorOf(await call({ verb: 'VERSION', input: part })).code, 6, part);
  });
  await fc.assert(property, { numRuns: 200 });
});

test('the CNI plug-in refuses a configuration beyond 1 MiB and passes a smaller one on', async () => {
  const socket = socketPath();
  await using agent = await FakeAgent.listen(socket, (connection, { input }) =>
    // The answer is as large as the request.
    connection.end(`0${input}`),
  );
  const fill = (length: number) => {
    const empty = JSON.stringify({ cniVersion: '0.4.0', socket, fill: '' });
    return empty.replace('""', `"${'x'.repeat(length - empty.length)}"`);
  };
  const largest = fill(2 ** 20 - 2);
  const outcome = await call({ verb: 'ADD', input: largest });
  assert.ok(outcome.status === 0 && outcome.output === largest);
  assert.ok(agent.requests[0]!.input === largest);
  for (const verb of verbs) {
    const { cniVersion, code } = errorOf(await call({ verb, input: fill(2 ** 20) }));
    assert.deepEqual([cniVersion, code], ['0.4.0', 6]);
  }
});

test('the CNI plug-in reports VERSION for a configuration that is no object as an error', async () => {
  assert.equal(errorOf(await call({ verb: 'VERSION', input: '{"cniVersion":' })).code, 6);
  const { status, output } = await call({ verb: 'VERSION', input: '' });
  assert.deepEqual([status, JSON.parse(output).cniVersion], [0, '1.1.0']);
});

test('the CNI plug-in passes the variables of CNI on, and no others', async () => {
  const socket = socketPath();
  await using agent = await FakeAgent.listen(socket, (connection) => connection.end('0{}'));
  const args = 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a=b';
  const environment = { ...attachment, CNI_ARGS: args, CNI_PATH: '', PATH: '/bin', XCNI_A: '1' };
  await call({ verb: 'ADD', environment, socket, config: { prevResult: { dns: {} } } });
  const [request] = agent.requests;
  const expected = { CNI_COMMAND: 'ADD', ...attachment, CNI_ARGS: args, CNI_PATH: '' };
  assert.deepEqual(request!.environment, expected);
  assert.deepEqual(JSON.parse(request!.input).prevResult, { dns: {} });
});

test('the CNI plug-in ends with an error where its output has no reader', async () => {
  const child = spawn(plugin, { env: { CNI_COMMAND: 'VERSION' }, stdio: 'pipe' });
  child.stdout.destroy();
  await once(child.stdout, 'close');
  child.stdin.end('{}');
  assert.deepEqual(await once(child, 'exit'), [1, null]);
});

test('the CNI plug-in ends at its deadline where its input does not end', async () => {
  const child = spawn(plugin, { env: { CNI_COMMAND: 'STATUS' }, stdio: 'pipe' });
  child.stdin.write('{"cniVersion":"1.0.0"');
  const { cniVersion, code, details } = JSON.parse(await text(child.stdout));
  assert.deepEqual([cniVersion, code, details], ['1.0.0', 5, 'stdin: no end in time']);
});

test('the CNI plug-in calls DEL, GC and STATUS although a socket path is unusable', async () => {
  for (const socket of ['', `/${'x'.repeat(200)}`, `/\\"${'\x7f'}`]) {
    for (const verb of ['ADD', 'DEL', 'GC', 'STATUS']) {
      const { status, output } = await call({ verb, socket });
      const isError = verb === 'ADD' || verb === 'STATUS';
      assert.equal(status, isError ? 1 : 0);
      if (isError) JSON.parse(output);
    }
  }
});

/** Returns true when the loopback interface of a namespace is up. */
const isLoopbackUp = (namespace: NetworkNamespace) => {
  using socket = namespace.enter(() => new NetlinkSocket(platform));
  return findLink(socket, 'lo')!.up;
};

test('the CNI plug-in acts as the plug-in loopback, with each verb and version', async () => {
  for (const version of versions) {
    using pod = NetworkNamespace.create(platform);
    const path = `${folder}/pod-${version}`;
    pod.mount(path);
    try {
      const environment = { ...attachment, CNI_IFNAME: 'lo', CNI_NETNS: path };
      const run = (verb: string) =>
        call({ verb, version, environment, config: { type: 'loopback' } });
      assert.equal(errorOf(await run('CHECK')).code, 5);
      const added = await run('ADD');
      assert.deepEqual(JSON.parse(added.output), {
        cniVersion: version,
        interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: path }],
        dns: {},
      });
      assert.ok(isLoopbackUp(pod) && !isLoopbackUp(namespace));
      for (const verb of ['CHECK', 'ADD', 'DEL', 'GC', 'STATUS', 'VERSION']) {
        assert.equal((await run(verb)).status, 0, verb);
      }
    } finally {
      deleteNamespace(platform, path);
    }
    const environment = { ...attachment, CNI_NETNS: path };
    const loopback = { version, environment, config: { type: 'loopback' } };
    assert.match(errorOf(await call({ verb: 'ADD', ...loopback })).details, /no such file/);
    assert.equal((await call({ verb: 'DEL', ...loopback })).status, 0);
  }
});

const emulator = spawnSync('qemu-aarch64', ['-version']).error ? undefined : 'qemu-aarch64';

test('the CNI plug-in of each architecture is a small static executable', () => {
  for (const [arch, machine] of [
    ['x64', 62],
    ['arm64', 183],
  ] as const) {
    const bytes = Buffer.from(cniPlugin(arch));
    assert.ok(bytes.length < 12_000, `${bytes.length} bytes`);
    assert.equal(bytes.toString('latin1', 0, 4), '\x7fELF');
    assert.deepEqual([bytes.readUInt16LE(16), bytes.readUInt16LE(18)], [2, machine]);
    const [start, count] = [Number(bytes.readBigUInt64LE(32)), bytes.readUInt16LE(56)];
    const types = Array.from({ length: count }, (_, i) => bytes.readUInt32LE(start + i * 56));
    assert.ok(!types.includes(3), 'it has an interpreter');
  }
});

test('the CNI plug-in for arm64 acts as the other', {
  skip: platform.arch === 'arm64' || !emulator ? 'no qemu-aarch64 (apt install qemu-user)' : false,
}, async () => {
  const other = `${folder}/arm64`;
  writeFileSync(other, cniPlugin('arm64'), { mode: 0o755 });
  const command = [emulator!, other];
  const socket = socketPath();
  await using agent = await FakeAgent.listen(socket, (connection) => connection.end('0{}'));
  for (const place of [socket, socketPath()]) {
    for (const verb of verbs) {
      makeInterface();
      const outcome = await call({ verb, socket: place });
      makeInterface();
      assert.deepEqual(await call({ verb, socket: place, command }), outcome);
      assert.equal(hasInterface(), verb !== 'DEL');
    }
  }
  const [native, emulated] = agent.requests;
  assert.deepEqual(emulated, native);
});
