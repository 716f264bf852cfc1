import { test } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import { assertLinear } from '@heddle/sys/testing/growth';
import { RequestReader } from './http.ts';
import { LineReader } from './line-reader.ts';

// A client must not be able to keep the process busy.

const head = 'GET / HTTP/1.1\r\nHost: x\r\n';
const heads = new Map<string, (units: number) => string>([
  ['spaces inside of a value', (n) => `X: a${' '.repeat(n)}b`],
  ['spaces before a value', (n) => `X:${' '.repeat(n)}b`],
  ['spaces after a value', (n) => `X: b${' '.repeat(n)}`],
  ['spaces before a control character', (n) => `X:${' '.repeat(n)}\0`],
  ['spaces inside of Connection', (n) => `Connection: a${' '.repeat(n)}b`],
  ['commas in Connection', (n) => `Connection: ${','.repeat(n)}`],
  ['a long name', (n) => `${'x'.repeat(n)}: y`],
  ['a line without a colon', (n) => 'x'.repeat(n)],
]);
for (const [what, line] of heads) {
  test(`the time to read a request grows with its length: ${what}`, () => {
    assertLinear(
      what,
      900,
      (units) => encodeUtf8(`${head}${line(units)}\r\n\r\n`),
      (bytes) => {
        const reader = new RequestReader();
        reader.push(bytes);
        reader.next();
      },
    );
  });
}

for (const [what, first] of [
  ['a long target', (n) => `GET /${'a'.repeat(n)} HTTP/1.1`],
  ['spaces in a request line', (n) => `GET${' '.repeat(n)}/ HTTP/1.1`],
  ['a target of question marks', (n) => `GET http://${'?'.repeat(n)} HTTP/1.1`],
] as [string, (n: number) => string][]) {
  test(`the time to read a request grows with its length: ${what}`, () => {
    assertLinear(
      what,
      900,
      (units) => encodeUtf8(`${first(units)}\r\nHost: x\r\n\r\n`),
      (bytes) => {
        const reader = new RequestReader();
        reader.push(bytes);
        reader.next();
      },
    );
  });
}

test('the time to read many fields of one name grows with their number', () => {
  assertLinear(
    'fields',
    200,
    (units) => encodeUtf8(`${head}${'A: b\r\n'.repeat(units)}\r\n`),
    (bytes) => {
      const reader = new RequestReader();
      reader.push(bytes);
      reader.next();
    },
  );
});

for (const chunk of [1, 100]) {
  test(`the time to read a line grows with its length when it comes in pieces of ${chunk}`, () => {
    assertLinear(
      'a line in pieces',
      10_000 * chunk,
      (units) => encodeUtf8(`${'x'.repeat(units)}\n`),
      (bytes) => {
        const reader = new LineReader(1 << 30);
        for (let at = 0; at < bytes.length; at += chunk) {
          reader.push(bytes.subarray(at, at + chunk));
          reader.next();
        }
      },
    );
  });
}

test('the time to read lines grows with their number when they come at once', () => {
  assertLinear(
    'lines',
    20_000,
    (units) => encodeUtf8('{}\n'.repeat(units)),
    (bytes) => {
      const reader = new LineReader(100);
      reader.push(bytes);
      while (reader.next() !== undefined);
    },
  );
});
