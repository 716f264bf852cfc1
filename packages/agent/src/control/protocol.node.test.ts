import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRequest } from './protocol.ts';

// Not among the pure tests: inside the WebAssembly that QuickJS is tested in, JSON.parse meets the
// end of the host's stack, which no engine inside can catch; a native one throws as Node.js does.
test('a request that nests as deep as a line allows is a bad request', () => {
  const parsed = parseRequest('['.repeat(60_000));
  assert.ok('error' in parsed);
  assert.equal(parsed.error.code, 'bad-request');
});
