import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatServer, parseServer } from './server.ts';

test('parseServer reads URLs with names and addresses of both families', () => {
  const https = { isTls: true, path: '' };
  assert.deepEqual(parseServer('https://10.0.0.5:6443'), {
    ...https,
    host: '10.0.0.5',
    port: 6443,
  });
  assert.deepEqual(parseServer('HTTPS://api.example'), {
    ...https,
    host: 'api.example',
    port: 443,
  });
  assert.deepEqual(parseServer('https://[fd00::1]:6443/'), {
    ...https,
    host: 'fd00::1',
    port: 6443,
  });
  assert.deepEqual(parseServer('http://localhost/k8s/clusters/c-1/'), {
    host: 'localhost',
    port: 80,
    isTls: false,
    path: '/k8s/clusters/c-1',
  });
  for (const url of ['https://[fd00::1]:6443/prefix', 'http://a.example:8080']) {
    const server = parseServer(url);
    assert.ok(typeof server !== 'string');
    assert.equal(formatServer(server), url);
  }
});

test('parseServer returns the problem of a malformed URL', () => {
  for (const [url, problem] of [
    ['10.0.0.5:6443', /must read https:/],
    ['ftp://a', /must read https:/],
    ['https://a?b', /must read https:/],
    ['https://a#b', /must read https:/],
    ['https://fd00::1', /must read https:/],
    ['https://a:123456', /must read https:/],
    ['https://a:0', /0 is not a port/],
    ['https://a:65536', /65536 is not a port/],
    ['https://', /its host is neither/],
    ['https://[10.0.0.1]:1', /\[10\.0\.0\.1\] is neither/],
    ['https://[fe80::1%25eth0]', /is neither/],
    ['https://a b', /a b is neither/],
    ['https://a\r\nX: y', /is neither|must read/],
    ['https://user:secret@a', /must read/],
    ['https://user@a', /no user and password/],
    ['https://a/b c', /path/],
  ] as const) {
    const result = parseServer(url);
    assert.ok(typeof result === 'string', url);
    assert.match(result, problem, url);
    assert.doesNotMatch(result, /secret/);
  }
});
