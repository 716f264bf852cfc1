import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { HttpError } from './errors.ts';
import { ResponseParser } from './http-response.ts';

interface Outcome {
  status?: number;
  headers?: Record<string, string>;
  body: number[];
  ended: boolean;
  error?: string;
  reusable: boolean;
  /** Bytes after the response. */
  rest: number;
}

/** Reads `bytes`, cut at each of `cuts`; then the stream ends, unless it `staysOpen`. */
function read(
  bytes: Uint8Array,
  { cuts = [] as readonly number[], isConnect = false, staysOpen = false } = {},
): Outcome {
  const outcome: Outcome = { body: [], ended: false, reusable: false, rest: 0 };
  const parser = new ResponseParser(
    {
      onHead(head) {
        assert.equal(outcome.status, undefined, 'one head');
        outcome.status = head.status;
        outcome.headers = Object.fromEntries(head.headers);
      },
      onBody(part) {
        assert.ok(part.length > 0 && outcome.status !== undefined && !parser.hasEnded);
        outcome.body.push(...part);
      },
    },
    isConnect,
  );
  const borders = [...cuts.map((cut) => Math.min(cut, bytes.length)), 0, bytes.length];
  borders.sort((a, b) => a - b);
  try {
    for (let i = 1; i < borders.length; i++) {
      const part = bytes.subarray(borders[i - 1]!, borders[i]!);
      outcome.rest += part.length - parser.push(part);
    }
    if (!staysOpen) parser.endOfStream();
  } catch (error) {
    assert.ok(error instanceof HttpError, String(error));
    outcome.error = error.message;
  }
  outcome.ended = parser.hasEnded;
  outcome.reusable = parser.isReusable;
  return outcome;
}

function readText(lines: readonly string[], options = {}): Outcome & { text: string } {
  const outcome = read(encodeUtf8(lines.join('\r\n')), { staysOpen: true, ...options });
  return { ...outcome, text: decodeUtf8(Uint8Array.from(outcome.body)) };
}

test('a body has a length, is chunked, or ends with the stream', () => {
  const plain = readText([
    'HTTP/1.1 200 OK',
    'Content-Length: 5',
    'X-Two: a',
    'x-two:\t b ',
    '',
    'hello',
  ]);
  assert.deepEqual(plain.headers, { 'content-length': '5', 'x-two': 'a, b' });
  assert.deepEqual([plain.status, plain.text, plain.reusable], [200, 'hello', true]);

  const chunked = readText([
    'HTTP/1.1 200 OK',
    'Transfer-Encoding: Chunked',
    '',
    '5;name="va;lue"',
    'hello',
    '00C ',
    ' and\r\nmore\r\n',
    '0',
    'X-Trailer: checked',
    '',
    '',
  ]);
  assert.deepEqual([chunked.text, chunked.reusable], ['hello and\r\nmore\r\n', true]);

  const open = ['HTTP/1.1 200 OK', '', 'all there'];
  assert.equal(readText(open).ended, false);
  const closed = readText(open, { staysOpen: false });
  assert.deepEqual([closed.text, closed.ended, closed.reusable], ['all there', true, false]);
});

test('responses without a body end with their head', () => {
  for (const head of [
    ['HTTP/1.1 204 No Content'],
    ['HTTP/1.1 304 Not Modified', 'Content-Length: 100'],
    ['HTTP/1.1 200', 'Content-Length: 0'],
  ]) {
    const outcome = readText([...head, '', '']);
    assert.deepEqual([outcome.ended, outcome.reusable], [true, true], head[0]);
  }
  const connected = readText(['HTTP/1.1 200 Connection established', '', 'TLS'], {
    isConnect: true,
  });
  assert.deepEqual([connected.ended, connected.rest], [true, 3]);
  const refused = ['HTTP/1.1 407 No', 'Content-Length: 2', '', 'no'];
  assert.equal(readText(refused, { isConnect: true }).text, 'no');
});

test('interim responses are skipped up to a limit', () => {
  const interim = ['HTTP/1.1 103 Early Hints', 'Link: </x>', '', 'HTTP/1.1 100 Continue', ''];
  const final = ['HTTP/1.1 200 OK', 'Content-Length: 2', '', 'ok'];
  const outcome = readText([...interim, ...final]);
  assert.deepEqual([outcome.status, outcome.text], [200, 'ok']);
  assert.deepEqual(outcome.headers, { 'content-length': '2' });
  const endless = Array.from({ length: 5000 }, () => interim).flat();
  assert.match(readText(endless).error!, /headers of more than 65536 bytes/);
  assert.match(readText(['HTTP/1.1 101 Switching Protocols', '', '']).error!, /unasked/);
});

test('a connection is reusable only if the end of the response is certain', () => {
  const reusable = (head: string, ...headers: string[]) =>
    readText([head, ...headers, 'Content-Length: 0', '', '']).reusable;
  assert.equal(reusable('HTTP/1.1 200 OK'), true);
  assert.equal(reusable('HTTP/1.1 200 OK', 'Connection: keep-alive'), true);
  assert.equal(reusable('HTTP/1.1 200 OK', 'Connection: x, Close'), false);
  assert.equal(reusable('HTTP/1.0 200 OK'), false);
});

test('an ambiguous response is refused', () => {
  const refused: [RegExp, string[]][] = [
    [/length in two ways/, ['Content-Length: 5', 'Transfer-Encoding: chunked']],
    [/malformed content-length: "5, 5"/, ['Content-Length: 5', 'Content-Length: 5']],
    [/malformed content-length: "\+5"/, ['Content-Length: +5']],
    [/malformed content-length: ""/, ['Content-Length:']],
    [/malformed content-length/, ['Content-Length: 0x5']],
    [/malformed content-length/, ['Content-Length: 9999999999999999']],
    [
      /transfer encoding: "gzip, chunked"/,
      ['Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'],
    ],
    [/transfer encoding: "identity"/, ['Transfer-Encoding: identity']],
    [/malformed header line: "Content-Length : 5"/, ['Content-Length : 5']],
    [/malformed header line: " folded"/, ['X: a', ' folded']],
    [/malformed header line: ": x"/, [': x']],
    [/malformed header line: "no colon"/, ['no colon']],
    [/control characters/, ['X: a\rY: b']],
    [/control characters/, ['X: a\0b']],
    [/does not end in CR LF/, ['X: a\nContent-Length: 5']],
  ];
  for (const [message, headers] of refused) {
    const outcome = readText(['HTTP/1.1 200 OK', ...headers, '', '']);
    assert.match(outcome.error ?? '', message);
    assert.equal(outcome.status, undefined, 'the head is not reported');
  }
  assert.match(
    readText(['HTTP/1.0 200 OK', 'Transfer-Encoding: chunked', '', '']).error!,
    /transfer encoding/,
  );
  for (const line of [
    'HTTP/2 200',
    'HTTP/1.1 20 OK',
    'HTTP/1.1  200',
    'ICY 200 OK',
    ' HTTP/1.1 200',
  ]) {
    assert.match(readText([line, '', '']).error!, /no HTTP\/1\.1 status line/, line);
  }
});

test('chunks must have their stated length', () => {
  const chunks = (...lines: string[]) =>
    readText(['HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', ...lines]);
  assert.match(chunks('3', 'abcd', '').error!, /longer than its size: "d"/);
  for (const size of ['', '-1', '0x3', 'g', '1000000000000a', ' 3', '3 x']) {
    assert.match(chunks(size, 'abc').error!, /malformed chunk size/, size);
  }
  assert.match(chunks(`3;${'x'.repeat(5000)}`).error!, /chunk size longer than/);
  assert.match(chunks('0', 'no trailer', '').error!, /malformed header line/);
  assert.match(chunks('0', `X: ${'y'.repeat(70_000)}`).error!, /headers of more than/);
});

test('a response that is cut anywhere is an error', () => {
  const bytes = encodeUtf8(
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: x\r\n\r\n',
  );
  for (let length = 0; length < bytes.length; length++) {
    const { error, ended } = read(bytes.subarray(0, length));
    assert.match(error!, /^it closed the connection (before|within) its response$/);
    assert.equal(ended, false);
  }
  assert.equal(read(bytes).error, undefined);
});

test('bytes after the response are not consumed', () => {
  const outcome = readText([
    'HTTP/1.1 200 OK',
    'Content-Length: 1',
    '',
    'aHTTP/1.1 200 OK',
    '',
    '',
  ]);
  assert.deepEqual([outcome.text, outcome.rest], ['a', 19]);
});

/** Texts that look like responses, some with a fault. */
const responses = fc
  .record({
    status: fc.constantFrom('200 OK', '204', '404 Not Found', '100 Continue', '99', '200'),
    headers: fc.array(
      fc.constantFrom(
        'Content-Length: 7',
        'Content-Length: 700',
        'Transfer-Encoding: chunked',
        'Connection: close',
        'X: y',
        ' folded',
        'Bad Name: x',
      ),
      { maxLength: 3 },
    ),
    body: fc.array(
      fc.constantFrom(
        '7\r\n',
        'A;x=y\r\n',
        '0123456',
        '0123456789',
        '\r\n',
        '0\r\n\r\n',
        'HTTP/1.1',
      ),
      { maxLength: 8 },
    ),
  })
  .map(({ status, headers, body }) =>
    encodeUtf8(
      `HTTP/1.1 ${status}\r\n${headers.map((h) => `${h}\r\n`).join('')}\r\n${body.join('')}`,
    ),
  );

test('the pieces of a response make no difference', () => {
  fc.assert(
    fc.property(
      responses,
      fc.array(fc.nat(200), { maxLength: 20 }),
      fc.boolean(),
      (bytes, cuts, isConnect) => {
        assert.deepEqual(read(bytes, { cuts, isConnect }), read(bytes, { isConnect }));
        const each = Array.from({ length: bytes.length }, (_, i) => i);
        assert.deepEqual(read(bytes, { cuts: each, isConnect }), read(bytes, { isConnect }));
      },
    ),
    { numRuns: 500 },
  );
});

test('any bytes are a response or a typed error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const { error, ended } = read(bytes);
      assert.ok(error !== undefined || ended);
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(responses, fc.nat(100), fc.nat(255), (bytes, at, value) => {
      const changed = bytes.slice();
      changed[at % bytes.length] = value;
      const { error, ended } = read(changed);
      assert.ok(error !== undefined || ended);
    }),
    { numRuns: 500 },
  );
});
