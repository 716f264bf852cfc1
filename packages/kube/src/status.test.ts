import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import { readStatus } from './status.ts';

const now = Date.parse('2026-11-21T10:00:00Z');

function status(code: number, body: string, headers: Record<string, string> = {}) {
  const head = { status: code, headers: new Map(Object.entries(headers)) };
  return readStatus(
    'get /api/v1/services from https://a:6443',
    head,
    encodeUtf8(body),
    'kubeconfig x',
    now,
  );
}

test('the error of a Status object has its message and reason', () => {
  const error = status(
    410,
    '{"kind":"Status","message":"too old resource version","reason":"Expired"}',
  );
  assert.equal(
    error.message,
    'get /api/v1/services from https://a:6443: status 410: too old resource version',
  );
  assert.deepEqual([error.status, error.reason, error.retryAfterMs], [410, 'Expired', undefined]);
  assert.match(
    status(401, '').message,
    /status 401 \(kubeconfig x: its credentials are not accepted/,
  );
  assert.match(status(403, '{"message":"no"}').message, /: no \(the rights that heddle needs/);
});

test('the error of another body has one limited line without control characters', () => {
  assert.match(
    status(502, '<html>\r\n\tBad\u001b[31m Gateway</html>').message,
    /502: <html> Bad \[31m Gateway<\/html>$/,
  );
  assert.equal(status(500, 'x'.repeat(10_000)).message.length, 557);
  for (const body of ['', '[', 'null', '7', '{"message":7,"reason":{},"details":null}', '\xff']) {
    assert.equal(status(500, body).reason, '', body);
  }
});

test('the retry delay of the header or the object is limited', () => {
  const after = (value: string) => status(429, '', { 'retry-after': value }).retryAfterMs;
  assert.equal(after('7'), 7000);
  assert.equal(after('Sat, 21 Nov 2026 10:00:09 GMT'), 9000);
  assert.equal(after('Sat, 21 Nov 2026 09:00:00 GMT'), 0);
  assert.equal(after('999999999999'), 300_000);
  assert.equal(after('soon'), undefined);
  assert.equal(status(429, '{"details":{"retryAfterSeconds":3}}').retryAfterMs, 3000);
  assert.equal(status(429, '{"details":{"retryAfterSeconds":"x"}}').retryAfterMs, undefined);
});
