import { test } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import { assertLinear } from '@heddle/sys/testing/growth';
import { KubeError } from './errors.ts';
import { LineFrames, ListFrames } from './frames.ts';
import { ResponseParser } from './http-response.ts';
import { readJson } from './json.ts';
import { parseServer } from './server.ts';
import { parseYaml, YamlError } from './yaml.ts';

// Data from a server or a file must not be able to hold the agent up.

/** Errors are results, too. */
function tried(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof KubeError || error instanceof YamlError)) throw error;
  }
}

const ok = 'HTTP/1.1 200 OK\r\n';
const responses = new Map<string, [number, (units: number) => string]>([
  ['spaces inside of a value', [1000, (n) => `${ok}X: a${' '.repeat(n)}b\r\n\r\n`]],
  ['spaces before nothing', [1000, (n) => `${ok}X:${' '.repeat(n)}\r\n\r\n`]],
  ['spaces before a line separator', [1000, (n) => `${ok}X:${' '.repeat(n)}\u2028\r\n\r\n`]],
  ['fields of one name', [300, (n) => `${ok}${'A: b\r\n'.repeat(n)}\r\n`]],
  ['interim answers', [100, (n) => 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(n)]],
  ['a long status line', [1000, (n) => `HTTP/1.1 200 ${' '.repeat(n)}\r\n\r\n`]],
  [
    'a chunk extension',
    [450, (n) => `${ok}Transfer-Encoding: chunked\r\n\r\n1${' '.repeat(n)};\r\nx`],
  ],
  [
    'chunks of one byte',
    [2000, (n) => `${ok}Transfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(n)}0\r\n\r\n`],
  ],
]);
for (const [what, [units, make]] of responses) {
  for (const piece of [1, 1 << 20]) {
    test(`the time to read a response is proportional to its length: ${what}, in pieces of ${piece}`, () => {
      assertLinear(
        what,
        units,
        (count) => encodeUtf8(make(count)),
        (bytes) => {
          const parser = new ResponseParser({ onHead() {}, onBody() {} });
          tried(() => {
            for (let at = 0; at < bytes.length; at += piece) {
              parser.push(bytes.subarray(at, at + piece));
            }
          });
        },
      );
    });
  }
}

const frames = new Map<string, [number, (units: number) => string]>([
  ['a long text', [20_000, (n) => `{"a":"${'x'.repeat(n)}"}`]],
  ['escapes', [5000, (n) => `{"a":"${'\\u0041\\n'.repeat(n)}"}`]],
  ['members', [3000, (n) => `{${Array.from({ length: n }, (_, i) => `"k${i}":${i}`).join()}}`]],
  ['spaces', [20_000, (n) => `{${' '.repeat(n)}}`]],
  ['digits', [5000, (n) => `{"a":${'1'.repeat(n)}}`]],
]);
for (const [what, [units, make]] of frames) {
  for (const piece of [1, 1 << 20]) {
    test(`the time to read an event is proportional to its length: ${what}, in pieces of ${piece}`, () => {
      assertLinear(
        what,
        units,
        (count) => encodeUtf8(`${make(count)}\n`),
        (bytes) => {
          const lines = new LineFrames((line) => {
            readJson(line);
            readJson(line, { k1: true });
          });
          for (let at = 0; at < bytes.length; at += piece) {
            lines.push(bytes.subarray(at, at + piece));
          }
        },
      );
    });
  }
}

const lists = new Map<string, [number, (units: number) => string]>([
  ['items', [1000, (n) => `{"kind":"XList","items":[${Array(n).fill('{"a":1}').join()}]}`]],
  ['an item of much text', [20_000, (n) => `{"items":[{"a":"${'x'.repeat(n)}"}]}`]],
  ['lists of items', [600, (n) => `{${Array(n).fill('"items":[]').join()}}`]],
  ['keys like items', [700, (n) => `{${Array(n).fill('"itemz":[]').join()}}`]],
]);
for (const [what, [units, make]] of lists) {
  for (const piece of [1, 1 << 20]) {
    test(`the time to read a list is proportional to its length: ${what}, in pieces of ${piece}`, () => {
      assertLinear(
        what,
        units,
        (count) => encodeUtf8(make(count)),
        (bytes) =>
          tried(() => {
            const list = new ListFrames((item) => void readJson(item));
            for (let at = 0; at < bytes.length; at += piece) {
              list.push(bytes.subarray(at, at + piece));
            }
            list.end();
          }),
      );
    });
  }
}

const lines = (n: number, make: (i: number) => string) =>
  Array.from({ length: n }, (_, i) => make(i)).join('');
const texts = new Map<string, [number, (units: number) => string]>([
  ['keys', [3000, (n) => lines(n, (i) => `k${i}: v\n`)]],
  ['keys in braces', [3000, (n) => `{${lines(n, (i) => `k${i}: v, `)}}`]],
  ['items of a list', [1000, (n) => lines(n, (i) => `- v${i}\n`)]],
  ['anchors and aliases', [1000, (n) => lines(n, (i) => `- &a${i} v\n- *a${i}\n`)]],
  ['merged maps', [1000, (n) => `a: &a {x: 1}\n${lines(n, (i) => `b${i}:\n  <<: *a\n`)}`]],
  ['lines of a text', [5000, (n) => `a: |\n${lines(n, (i) => `  w${i}\n`)}`]],
  ['lines of a quoted text', [5000, (n) => `a: "${lines(n, (i) => `w${i}\n  `)}"`]],
  ['comments', [5000, (n) => `a: b\n${lines(n, (i) => `# ${i}\n`)}c: d\n`]],
  ['mistakes', [500, (n) => lines(n, () => 'a: b: c\n')]],
]);
for (const [what, [units, make]] of texts) {
  test(`the time to read YAML is proportional to its length: ${what}`, () => {
    assertLinear(what, units, make, (text) => tried(() => void parseYaml(text, { merge: true })));
  });
}

test('the time to read the URL of a server is proportional to its length', () => {
  assertLinear('slashes', 1000, (n) => `https://x${'/'.repeat(n)}y`, parseServer);
  assertLinear('labels', 1000, (n) => `https://${'a.'.repeat(n)}!`, parseServer);
});
