import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeUtf8 } from '@heddle/sys';
import fc from 'fast-check';
import { ControlError, encodeReply, encodeRequest, parseReply, parseRequest } from './protocol.ts';

const oneLine = (bytes: Uint8Array) => {
  const text = decodeUtf8(bytes);
  assert.equal(text.indexOf('\n'), text.length - 1);
  return text.slice(0, -1);
};

const jsonObject = fc.dictionary(fc.string(), fc.jsonValue({ depthSize: 'small' }));
const id = fc.oneof(fc.integer(), fc.string({ maxLength: 200 }));

describe('requests', () => {
  it('requests are the same after encoding and parsing', () => {
    fc.assert(
      fc.property(id, fc.string(), jsonObject, (id, method, params) => {
        const request = { id, method, params };
        const parsed = parseRequest(oneLine(encodeRequest(request)));
        assert.ok('request' in parsed);
        assert.equal(JSON.stringify(parsed.request), JSON.stringify(request));
      }),
      { numRuns: 200 },
    );
  });

  it('requests without parameters have empty ones', () => {
    assert.deepEqual(parseRequest('{"version":1,"id":"a","method":"status"}'), {
      request: { id: 'a', method: 'status', params: {} },
    });
  });

  const cases: [string, string, string, unknown][] = [
    ['no JSON', 'GET / HTTP/1.1', 'bad-request', null],
    ['no object', '[1]', 'bad-request', null],
    ['null', 'null', 'bad-request', null],
    ['no version', '{"id":1,"method":"status"}', 'unsupported-version', 1],
    ['a later version', '{"version":2,"id":"x","method":"status"}', 'unsupported-version', 'x'],
    ['no id', '{"version":1,"method":"status"}', 'bad-request', null],
    ['an id that is an object', '{"version":1,"id":{},"method":"status"}', 'bad-request', null],
    ['no method', '{"version":1,"id":1}', 'unknown-method', 1],
    ['a method that is a number', '{"version":1,"id":1,"method":7}', 'unknown-method', 1],
    ['a list as parameters', '{"version":1,"id":1,"method":"status","params":[]}', 'bad-params', 1],
  ];
  for (const [what, line, code, id] of cases) {
    it(`requests with ${what} are ${code}`, () => {
      const parsed = parseRequest(line);
      assert.ok('error' in parsed);
      assert.deepEqual([parsed.error.code, parsed.id], [code, id]);
    });
  }

  it('parsing a request never throws, and its error fits into a reply', () => {
    const almost = fc.record(
      {
        version: fc.oneof(fc.constant(1), fc.jsonValue()),
        id: fc.oneof(id, fc.jsonValue()),
        method: fc.oneof(fc.string(), fc.jsonValue()),
        params: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    const line = fc.oneof(
      fc.string(),
      fc.string({ unit: 'binary' }),
      fc.json(),
      almost.map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(line, (text) => {
        const parsed = parseRequest(text);
        if ('request' in parsed) {
          assert.equal(typeof parsed.request.method, 'string');
        } else {
          const { code, message } = parsed.error;
          assert.ok(message.length < 300);
          const reply = parseReply(
            oneLine(encodeReply({ id: parsed.id, error: { code, message } })),
          );
          assert.equal(reply.error?.code, code);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('replies', () => {
  it('replies are the same after encoding and parsing', () => {
    fc.assert(
      fc.property(id, fc.jsonValue(), (id, result) => {
        assert.equal(
          JSON.stringify(parseReply(oneLine(encodeReply({ id, result })))),
          JSON.stringify({ id, result }),
        );
        assert.equal(
          JSON.stringify(parseReply(oneLine(encodeReply({ id, event: result })))),
          JSON.stringify({ id, event: result }),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('parsing any line returns a reply or throws a ControlError', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        try {
          parseReply(text);
        } catch (error) {
          assert.ok(error instanceof ControlError);
        }
      }),
      { numRuns: 300 },
    );
    assert.throws(() => parseReply('{"version":2,"id":1,"result":1}'), /different releases/);
    assert.throws(() => parseReply('{"version":1,"id":1}'), /neither result nor error/);
  });
});
