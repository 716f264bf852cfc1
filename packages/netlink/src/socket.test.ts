import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCString } from '@heddle/sys';
import { code, fakeKernel, join, message } from '../testing/fake-socket.ts';
import { MalformedMessage, NetlinkError } from './errors.ts';
import { NetlinkSocket } from './socket.ts';
import {
  MessageWriter,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  readMessages,
} from './wire.ts';

const request = () => new MessageWriter(18);
const acknowledged = message(NLMSG_ERROR, NLM_F_CAPPED, code(0, new Uint8Array(16)));
const done = message(NLMSG_DONE, 2, code(0));
const echoed = new Uint8Array(16);

function reason(text: string): Uint8Array {
  // NLMSGERR_ATTR_MSG is 1.
  return new MessageWriter(0).bytes(1, encodeCString(text)).finish(0).subarray(16);
}

function thrown(work: () => unknown): NetlinkError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof NetlinkError, String(error));
    return error;
  }
  assert.fail('nothing was thrown');
}

test('request asks for an acknowledgement and returns the messages before it', () => {
  const kernel = fakeKernel(() => [message(16, 0, Uint8Array.of(1, 2, 3, 4)), acknowledged]);
  using socket = new NetlinkSocket(kernel.platform);
  const answers = socket.request(request(), 'find link');
  assert.deepEqual(
    answers.map(({ body }) => [...body]),
    [[1, 2, 3, 4]],
  );
  assert.equal(readMessages(kernel.sent[0]!)[0]!.flags, NLM_F_REQUEST | NLM_F_ACK);
});

test("a NetlinkError has the errno and the kernel's explanation", () => {
  const body = code(-22, echoed, reason('Invalid gateway'));
  const kernel = fakeKernel(() => [message(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, body)]);
  using socket = new NetlinkSocket(kernel.platform);
  const error = thrown(() => socket.request(request(), 'add route to 10.0.0.0/8'));
  assert.equal(error.code, 'EINVAL');
  assert.equal(error.detail, 'Invalid gateway');
  assert.equal(
    error.message,
    'add route to 10.0.0.0/8: invalid argument (EINVAL): Invalid gateway',
  );
});

test("the kernel's explanation is found after an echoed request", () => {
  const kernel = fakeKernel((sent) => [
    message(NLMSG_ERROR, NLM_F_ACK_TLVS, code(-17, sent, reason('Exists'))),
  ]);
  using socket = new NetlinkSocket(kernel.platform);
  const writer = request().text(3, 'a name of some length');
  assert.equal(thrown(() => socket.request(writer, 'create link')).detail, 'Exists');
});

test('a refusal without an explanation is a NetlinkError as well', () => {
  const kernel = fakeKernel(() => [message(NLMSG_ERROR, NLM_F_CAPPED, code(-1, echoed))]);
  using socket = new NetlinkSocket(kernel.platform);
  const error = thrown(() => socket.request(request(), 'delete link 3'));
  assert.match(
    error.message,
    /^delete link 3: operation not permitted \(EPERM\); run as root or with CAP_NET_ADMIN/,
  );
});

test('answers to an earlier request are ignored', () => {
  const stray = message(16, 0, Uint8Array.of(9, 9, 9, 9), 4711);
  const strayError = message(NLMSG_ERROR, NLM_F_CAPPED, code(-1, echoed), 4711);
  const kernel = fakeKernel(() => [stray, join(strayError, acknowledged)]);
  using socket = new NetlinkSocket(kernel.platform);
  assert.deepEqual(socket.request(request(), 'find link'), []);
});

test('dump reads several datagrams until the end of the listing', () => {
  const kernel = fakeKernel(() => [
    join(message(16, 2, Uint8Array.of(1)), message(16, 2, Uint8Array.of(2))),
    message(16, 2, new Uint8Array(100_000).fill(3)),
    done,
  ]);
  using socket = new NetlinkSocket(kernel.platform);
  const answers = socket.dump(request(), 'list links');
  assert.deepEqual(
    answers.map(({ body }) => [body[0], body.length]),
    [
      [1, 1],
      [2, 1],
      [3, 100_000],
    ],
  );
  assert.equal(readMessages(kernel.sent[0]!)[0]!.flags, NLM_F_REQUEST | NLM_F_DUMP);
});

test('dump reads an interrupted listing to its end and repeats it', () => {
  const kernel = fakeKernel((_, count) =>
    count < 3
      ? [message(16, NLM_F_DUMP_INTR, Uint8Array.of(count)), done]
      : [message(16, 2, Uint8Array.of(count)), done],
  );
  using socket = new NetlinkSocket(kernel.platform);
  const answers = socket.dump(request(), 'list links');
  assert.deepEqual(
    answers.map(({ body }) => [...body]),
    [[3]],
  );
});

test('dump fails after 8 interrupted listings', () => {
  const kernel = fakeKernel(() => [message(NLMSG_DONE, NLM_F_DUMP_INTR, code(0))]);
  using socket = new NetlinkSocket(kernel.platform);
  const error = thrown(() => socket.dump(request(), 'list links'));
  assert.equal(error.code, 'EINTR');
  assert.match(error.message, /8 attempts/);
  assert.equal(kernel.sent.length, 8);
});

test('dump repeats a listing that overran the buffer', () => {
  const kernel = fakeKernel((_, count) =>
    count === 1 ? [-105, message(16, 2, Uint8Array.of(1)), done] : [message(16, 2), done],
  );
  using socket = new NetlinkSocket(kernel.platform);
  assert.equal(socket.dump(request(), 'list links')[0]!.body.length, 0);
  assert.equal(kernel.sent.length, 2);
});

test("a refused listing is a NetlinkError with the kernel's explanation", () => {
  const body = code(-22, reason('Invalid header for dump'));
  const kernel = fakeKernel(() => [message(NLMSG_DONE, NLM_F_ACK_TLVS, body)]);
  using socket = new NetlinkSocket(kernel.platform);
  assert.equal(
    thrown(() => socket.dump(request(), 'list links')).detail,
    'Invalid header for dump',
  );
});

test('an interrupted receive is repeated, and a missing answer is an error', () => {
  const kernel = fakeKernel((_, count) => (count === 1 ? [-4, -4, acknowledged] : []));
  using socket = new NetlinkSocket(kernel.platform);
  assert.deepEqual(socket.request(request(), 'find link'), []);
  assert.equal(thrown(() => socket.request(request(), 'find link')).code, 'EAGAIN');
});

test('malformed answers are a MalformedMessage', () => {
  const short = message(NLMSG_ERROR, 0, Uint8Array.of(1));
  const noHeader = message(NLMSG_ERROR, NLM_F_ACK_TLVS, code(-1));
  for (const bad of [new Uint8Array(7), short, noHeader]) {
    const kernel = fakeKernel(() => [bad]);
    using socket = new NetlinkSocket(kernel.platform);
    assert.throws(() => socket.request(request(), 'find link'), MalformedMessage);
  }
});
