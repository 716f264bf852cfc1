// STATUS of the CNI plug-in while the agent restarts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { nodePlatform } from '@heddle/sys/node';
import { callPlugin, FakeAgent } from '../testing/cni-call.ts';
import { cniPlugin } from './index.ts';

const platform = nodePlatform();
const folder = mkdtempSync(`${tmpdir()}/heddle-cni-`);
after(() => rmSync(folder, { recursive: true }));
const plugin = `${folder}/heddle-cni`;
writeFileSync(plugin, cniPlugin(platform.arch), { mode: 0o755 });

let sockets = 0;
const socketPath = () => `${folder}/${sockets++}.sock`;

function call(verb: string, socket: string, command: readonly string[] = [plugin]) {
  const environment = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: 'c0ffee',
    CNI_NETNS: '/proc/self/ns/net',
    CNI_IFNAME: 'eth0',
  };
  const input = JSON.stringify({ cniVersion: '1.1.0', name: 'heddle', socket });
  return callPlugin({ command, environment, input });
}

const refusal = JSON.stringify({ cniVersion: '1.1.0', code: 7, msg: 'the agent refuses' });
const agents: Readonly<Record<string, (connection: Socket) => void>> = {
  'reports success': (connection) => connection.end('0'),
  'reports an error': (connection) => connection.end(`1${refusal}`),
  starts: (connection) => connection.end(`2${refusal}`),
  'is silent': () => {},
  'answers with garbage': (connection) => connection.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'closes the connection': (connection) => connection.end(),
  'resets the connection': (connection) => connection.destroy(),
};

/** The bytes of `cni/ready.h`: the identity of a boot, and seconds since then. */
function readyRecord(secondsAgo: number, boot = bootId): Buffer {
  const seconds = Math.floor(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]));
  const bytes = Buffer.alloc(40, boot);
  bytes.writeUInt32LE((seconds - secondsAgo) >>> 0, 36);
  return bytes;
}
const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

/** Calls STATUS and returns the code; 0 for success. */
async function statusCode(socket: string, command = [plugin]): Promise<number> {
  const { status, output } = await call('STATUS', socket, command);
  if (status !== 0) return JSON.parse(output).code;
  assert.equal(output, '');
  return 0;
}

/** Calls STATUS of an agent that does `what`, one of `agents`. */
async function statusOf(what: string, socket: string, command = [plugin]): Promise<number> {
  await using _ = await FakeAgent.listen(socket, agents[what]!);
  return await statusCode(socket, command);
}

/** Checks STATUS while agents come and go, with the plug-in of one architecture. */
async function checkRestarts(command: string[]): Promise<void> {
  const socket = socketPath();
  const code = (what: string) => statusOf(what, socket, command);
  // Nothing is known of a node whose agent has never been ready.
  assert.equal(await code('starts'), 7);
  assert.equal(await statusCode(socket, command), 50);
  assert.equal(await code('reports success'), 0);
  assert.equal(statSync(`${socket}.ready`).mode & 0o777, 0o600);
  for (const what of ['starts', 'closes the connection', 'resets the connection']) {
    assert.equal(await code(what), 0, what);
    assert.equal(await statusCode(socket, command), 0, `no agent after one that ${what}`);
  }
  // These agents are there, but they do not work.
  for (const what of ['is silent', 'answers with garbage']) assert.equal(await code(what), 50);
  assert.equal(await statusCode(socket, command), 0);
  // What the agent has reported last counts.
  assert.equal(await code('reports an error'), 7);
  assert.equal(await statusCode(socket, command), 50);
  assert.equal(await code('starts'), 7);
  assert.equal(await code('reports success'), 0);
  assert.equal(await statusCode(socket, command), 0);
}

test('STATUS is a success while the agent restarts', () => checkRestarts([plugin]));

const emulator = spawnSync('qemu-aarch64', ['-version']).error ? undefined : 'qemu-aarch64';
test('STATUS of the plug-in for arm64 is a success while the agent restarts', {
  skip: platform.arch === 'arm64' || !emulator ? 'no qemu-aarch64 (apt install qemu-user)' : false,
}, async () => {
  const other = `${folder}/arm64`;
  writeFileSync(other, cniPlugin('arm64'), { mode: 0o755 });
  await checkRestarts([emulator!, other]);
});

test('STATUS without an agent is a success for 60 s, within one boot', async () => {
  const socket = socketPath();
  const codeWith = (record: Buffer) => {
    writeFileSync(`${socket}.ready`, record);
    return statusCode(socket);
  };
  assert.equal(await codeWith(readyRecord(0)), 0);
  assert.equal(await codeWith(readyRecord(40)), 0);
  const otherBoot = bootId.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
  const unusable = {
    'too old': readyRecord(60),
    'from the future': readyRecord(-60),
    'from another boot': readyRecord(0, otherBoot),
    'cut off': readyRecord(0).subarray(0, 39),
    empty: Buffer.alloc(0),
  };
  for (const [what, record] of Object.entries(unusable)) {
    assert.equal(await codeWith(record), 50, what);
    assert.equal(await statusOf('starts', socket), 7, what);
  }
});

test('only STATUS reads and writes the time at which the agent was ready', async () => {
  const socket = socketPath();
  for (const verb of ['ADD', 'DEL', 'CHECK', 'GC', 'VERSION']) {
    await using _ = await FakeAgent.listen(socket, (connection) => connection.end('0{}'));
    assert.equal((await call(verb, socket)).status, 0);
  }
  assert.ok(!existsSync(`${socket}.ready`));
  writeFileSync(`${socket}.ready`, readyRecord(0));
  for (const verb of ['ADD', 'CHECK']) {
    assert.equal(JSON.parse((await call(verb, socket)).output).code, 11);
    // The byte of an agent that starts is an answer to STATUS alone.
    await using _ = await FakeAgent.listen(socket, agents.starts!);
    assert.equal(JSON.parse((await call(verb, socket)).output).code, 11);
  }
});

test('the CNI plug-in does not follow a link in place of its record', async () => {
  const socket = socketPath();
  const other = `${folder}/other`;
  writeFileSync(other, 'kept');
  symlinkSync(other, `${socket}.ready`);
  for (const what of ['reports success', 'reports an error']) await statusOf(what, socket);
  assert.equal(readFileSync(other, 'utf8'), 'kept');
  assert.equal(await statusCode(socket), 50);
});
