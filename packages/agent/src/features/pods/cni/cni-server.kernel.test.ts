// The socket of the CNI plug-in: what clients may send, and what they cost.
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import { eventually } from '@heddle/sys/testing/eventually';
import { callCni, exchange } from '../../../../testing/cni-client.ts';
import { PodsNode } from '../../../../testing/pods-node.ts';
import { longestMessage } from './message.ts';

const openDescriptors = () => readdirSync('/proc/self/fd').length;

test('the socket is for root alone', () => {
  using node = new PodsNode();
  assert.equal(statSync(node.socketPath).mode & 0o777, 0o600);
});

test('descriptors that a call does not need, or that come without one, are closed', async () => {
  using node = new PodsNode();
  using pod = node.pod('c1');
  const input = { cniVersion: '1.1.0', name: 'heddle', type: 'heddle-cni' };
  const descriptor = pod.namespace.fd;
  const before = openDescriptors();
  for (const verb of ['STATUS', 'GC', 'DEL', 'MOVE']) {
    const environment = { CNI_COMMAND: verb, CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' };
    await callCni(node.platform, node.socketPath, { environment, input, descriptor });
  }
  await exchange(node.platform, node.socketPath, encodeUtf8('nonsense'), descriptor);
  await eventually('all descriptors are closed', () => openDescriptors() === before);
});

test('a message that is too long, and one that is cut off, get error 6', async () => {
  using node = new PodsNode();
  const codeOf = async (bytes: Uint8Array) => {
    const text = decodeUtf8(await exchange(node.platform, node.socketPath, bytes));
    assert.equal(text[0], '1');
    return (JSON.parse(text.slice(1)) as { code: number }).code;
  };
  assert.equal(await codeOf(encodeUtf8('CNI_COMMAND=ADD\0CNI_')), 6);
  assert.equal(await codeOf(new Uint8Array(0)), 6);
  const client = connect({ path: node.socketPath, allowHalfOpen: true });
  let answer = '';
  client.on('data', (data) => {
    answer += data;
  });
  client.on('error', () => {});
  client.write(new Uint8Array(longestMessage + 1).fill(0x41));
  await eventually('the long message is answered', () => answer.includes('"code":6'));
  client.destroy();
});

test('clients that leave in the middle of a call cost nothing', async () => {
  using node = new PodsNode();
  const before = openDescriptors();
  for (let i = 0; i < 20; i++) {
    const client = connect(node.socketPath);
    client.on('error', () => {});
    client.write('CNI_COMMAND=ADD\0');
    setImmediate(() => client.destroy());
  }
  await eventually('all connections are closed', () => openDescriptors() === before);
  assert.equal((await node.call('STATUS', undefined)).isSuccess, true);
});
