import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeUtf8, encodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { encodeResponse, RequestReader, textResponse } from './http.ts';

/** Returns all that is read from `chunks`, up to the first fault. */
function read(...chunks: readonly string[]) {
  const reader = new RequestReader();
  const seen: NonNullable<ReturnType<RequestReader['next']>>[] = [];
  for (const chunk of chunks) {
    reader.push(encodeUtf8(chunk));
    for (let next = reader.next(); next; next = reader.next()) {
      seen.push(next);
      if ('status' in next) return seen;
    }
  }
  return seen;
}

const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: n\r\n${more}\r\n`;
const request = (path: string, isLast = false) => ({ method: 'GET', path, isLast });

describe('RequestReader', () => {
  it('reads one request after another', () => {
    assert.deepEqual(read(get('/healthz') + get('/metrics?x=1#y')), [
      request('/healthz'),
      request('/metrics'),
    ]);
  });

  it('reads the same requests however the bytes are split', () => {
    const text = get('/a') + get('/b', 'Accept: */*\r\n') + get('/c', 'Connection: Close\r\n');
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 20 }), (cuts) => {
        const chunks: string[] = [];
        let at = 0;
        for (const cut of cuts) {
          chunks.push(text.slice(at, at + cut));
          at += cut;
        }
        assert.deepEqual(read(...chunks, text.slice(at)), [
          request('/a'),
          request('/b'),
          request('/c', true),
        ]);
      }),
    );
  });

  it('accepts the forms that other clients send', () => {
    assert.deepEqual(read('\r\nGET / HTTP/1.0\n\n'), [request('/', true)]);
    assert.deepEqual(read(get('http://n:80/x?y')), [request('/x')]);
    assert.deepEqual(read(get('http://n')), [request('/')]);
    assert.deepEqual(read(get('/', 'Connection: TE, close\r\n')), [request('/', true)]);
    assert.deepEqual(read(get('/', 'Content-Length: 0\r\n')), [request('/')]);
    assert.deepEqual(read('HEAD / HTTP/1.1\r\nhost:\r\n\r\n'), [
      { method: 'HEAD', path: '/', isLast: false },
    ]);
  });

  const faults: [string, number, string][] = [
    ['a first line that is not HTTP', 400, '{"version":1}\r\n\r\n'],
    ['another version', 505, 'GET / HTTP/2.0\r\nHost: n\r\n\r\n'],
    ['no Host field', 400, 'GET / HTTP/1.1\r\n\r\n'],
    ['two Host fields', 400, get('/', 'Host: m\r\n')],
    ['a line that is not a field', 400, get('/', 'X\r\n')],
    ['a blank before the colon', 400, get('/', 'X : y\r\n')],
    ['a folded field', 400, get('/', 'X: y\r\n z\r\n')],
    ['a carriage return in a field', 400, get('/', 'X: y\rZ: z\r\n')],
    ['content', 413, get('/', 'Content-Length: 5\r\n')],
    ['two lengths', 413, get('/', 'Content-Length: 0\r\nContent-Length: 5\r\n')],
    ['chunked content', 413, get('/', 'Transfer-Encoding: chunked\r\n')],
    ['another method', 405, 'DELETE / HTTP/1.1\r\nHost: n\r\n\r\n'],
    ['a target that is not a path', 400, get('healthz')],
    ['an asterisk', 400, get('*')],
    ['a long line', 431, get(`/${'x'.repeat(9000)}`)],
    ['an endless line', 431, 'x'.repeat(9000)],
    ['many fields', 431, get('/', 'X: yyyyyyyyyyyyyyy\r\n'.repeat(1000))],
  ];
  for (const [what, status, text] of faults) {
    it(`refuses a request with ${what}`, () => {
      const [fault] = read(text);
      assert.ok(fault && 'status' in fault);
      assert.equal(fault.status, status);
    });
  }

  it('returns requests or refusals for any text', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.constantFrom('GET ', 'HEAD ', '/', ' HTTP/1.1', '\r\n', 'Host: n', ':', '\n', '\r'),
      fc.constantFrom('Content-Length: ', 'Connection: close', 'http://', '?', '0', get('/')),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        for (const each of read(...pieces)) {
          if ('status' in each) assert.ok([400, 405, 413, 431, 505].includes(each.status));
          else assert.ok(each.path.startsWith('/'));
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('encodeResponse', () => {
  const at = { isLast: false, nowMs: Date.UTC(1994, 10, 6, 8, 49, 37) };

  it('writes the length of the body in bytes', () => {
    const bytes = encodeResponse(textResponse(200, 'gut, schön'), { ...at, method: 'GET' });
    assert.deepEqual(decodeUtf8(bytes).split('\r\n'), [
      'HTTP/1.1 200 OK',
      'Date: Sun, 06 Nov 1994 08:49:37 GMT',
      'Content-Type: text/plain; charset=utf-8',
      'Content-Length: 12',
      'X-Content-Type-Options: nosniff',
      '',
      'gut, schön\n',
    ]);
  });

  it('writes the same head for HEAD and no body', () => {
    const response = textResponse(503, 'not yet');
    const toGet = decodeUtf8(encodeResponse(response, { ...at, method: 'GET' }));
    const toHead = decodeUtf8(encodeResponse(response, { ...at, method: 'HEAD' }));
    assert.equal(`${toHead}not yet\n`, toGet);
    assert.ok(toHead.endsWith('\r\n\r\n'));
  });

  it('writes additional fields', () => {
    const response = { ...textResponse(200, 'x'), fields: { 'X-Weight': '3' } };
    const head = decodeUtf8(encodeResponse(response, { ...at, method: 'HEAD' }));
    assert.ok(head.endsWith('nosniff\r\nX-Weight: 3\r\n\r\n'));
  });

  it('announces the end of the connection', () => {
    const bytes = encodeResponse(textResponse(405, 'x'), { ...at, method: 'GET', isLast: true });
    assert.match(decodeUtf8(bytes), /\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\nx/);
  });
});
