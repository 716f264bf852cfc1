import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProxy, proxyFromEnvironment } from './proxy.ts';
import { parseServer } from './server.ts';

const proxy = 'http://proxy.example:3128';

/** Returns true if `url` is reached directly under NO_PROXY. */
function isDirect(noProxy: string, url: string): boolean {
  const server = parseServer(url);
  assert.ok(typeof server !== 'string', String(server));
  return proxyFromEnvironment({ HTTPS_PROXY: proxy, NO_PROXY: noProxy }, server) === undefined;
}

test('the proxy variables apply by scheme, in upper and lower case', () => {
  const https = parseServer('https://api.example');
  const http = parseServer('http://api.example');
  assert.ok(typeof https !== 'string' && typeof http !== 'string');
  assert.equal(proxyFromEnvironment({}, https), undefined);
  assert.equal(proxyFromEnvironment({ HTTPS_PROXY: 'a', https_proxy: 'b' }, https), 'a');
  assert.equal(proxyFromEnvironment({ HTTPS_PROXY: '', https_proxy: 'b' }, https), 'b');
  assert.equal(proxyFromEnvironment({ HTTP_PROXY: 'a' }, https), undefined);
  assert.equal(proxyFromEnvironment({ http_proxy: 'a' }, http), 'a');
  const environment = { HTTPS_PROXY: 'a', no_proxy: 'api.example' };
  assert.equal(proxyFromEnvironment(environment, https), undefined);
});

test('loopback addresses have no proxy', () => {
  for (const host of ['localhost', 'LOCALHOST:6443', '127.0.0.1', '127.8.8.8', '[::1]']) {
    assert.ok(isDirect('', `https://${host}`), host);
  }
  assert.ok(!isDirect('', 'https://128.0.0.1'));
  assert.ok(!isDirect('', 'https://[::2]'));
});

test('NO_PROXY excludes names', () => {
  for (const [noProxy, host, expected] of [
    ['example', 'example', true],
    ['Example', 'api.EXAMPLE', true],
    ['example', 'counterexample', false],
    ['.example', 'api.example', true],
    ['.example', 'example', false],
    ['*.example', 'api.example', true],
    ['*.example', 'example', false],
    ['a, ,b , c', 'b', true],
    ['a:6443', 'a:6443', true],
    ['a:6443', 'a', false],
    ['a:443', 'a', true],
    [':443', 'a', false],
    ['*', 'a', true],
    ['', 'a', false],
  ] as const) {
    assert.equal(isDirect(noProxy, `https://${host}`), expected, `${noProxy} for ${host}`);
  }
});

test('NO_PROXY excludes addresses and ranges', () => {
  for (const [noProxy, host, expected] of [
    ['10.0.0.1', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.11', false],
    ['10.0.0.1:6443', '10.0.0.1:6443', true],
    ['10.0.0.1:6443', '10.0.0.1', false],
    ['10.0.0.0/8', '10.9.9.9:6443', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/99', '10.0.0.1', false],
    ['0.0.0.0/0', '[fd00::1]', false],
    ['fd00::/8', '[fd12::1]', true],
    ['fd00::/8', '[fe00::1]', false],
    ['fd00::1', '[fd00::0:1]:6443', true],
    ['[fd00::1]', '[fd00::1]', true],
    ['[fd00::1]:6443', '[fd00::1]:6443', true],
    ['[fd00::1]:6443', '[fd00::1]', false],
    ['10.0.0.0/8', 'ten.example', false],
  ] as const) {
    assert.equal(isDirect(noProxy, `https://${host}`), expected, `${noProxy} for ${host}`);
  }
});

test('parseProxy reads URLs and returns the problem of others', () => {
  assert.deepEqual(parseProxy('http://proxy.example:3128'), {
    server: { host: 'proxy.example', port: 3128, isTls: false, path: '' },
  });
  const bare = parseProxy('proxy.example:3128');
  assert.ok(typeof bare !== 'string');
  assert.equal(bare.server.port, 3128);
  const secure = parseProxy('https://me:p%40ss@[fd00::1]');
  assert.ok(typeof secure !== 'string');
  assert.deepEqual(secure.server, { host: 'fd00::1', port: 443, isTls: true, path: '' });
  assert.equal(secure.authorization, 'Basic bWU6cEBzcw==');
  const nameOnly = parseProxy('http://me@proxy.example');
  assert.ok(typeof nameOnly !== 'string');
  assert.equal(nameOnly.authorization, 'Basic bWU6');
  for (const [url, problem] of [
    ['socks5://proxy.example', /socks5:\/\/ are not supported/],
    ['http://', /its host is neither/],
    ['http://%zz:secret@proxy.example', /percent-encoded/],
    ['http://a:secret@b c', /b c is neither/],
    ['http://a@b@c', /must read/],
  ] as const) {
    const result = parseProxy(url);
    assert.ok(typeof result === 'string', url);
    assert.match(result, problem);
    assert.doesNotMatch(result, /secret/);
  }
});
