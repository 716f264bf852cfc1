import { test } from 'node:test';
import { encodeUtf8 } from '@heddle/sys';
import { assertLinear } from '@heddle/sys/testing/growth';
import { RequestReader } from './server/http.ts';
import { LineReader } from './server/line-reader.ts';
import { ManifestSet } from './source/manifest-set.ts';

// A process that can write to a socket or into the folder must not be able to hold the agent up.

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

const service = (name: string, more = '') =>
  `---\napiVersion: v1\nkind: Service\nmetadata: {name: ${name}${more}}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n`;
const repeated = (units: number, make: (i: number) => string) =>
  Array.from({ length: units }, (_, i) => make(i)).join('');
const manifests = new Map<string, [number, (units: number) => string]>([
  ['documents of one name', [100, (n) => repeated(n, (i) => service('web', `, uid: u${i}`))]],
  ['documents', [50, (n) => repeated(n, (i) => service(`web-${i}`))]],
  ['keys of a map', [1000, (n) => `a:\n${repeated(n, (i) => `  k${i}: v\n`)}`]],
  ['anchors and aliases', [500, (n) => repeated(n, (i) => `- &a${i} v\n- *a${i}\n`)]],
  ['comments', [2000, (n) => repeated(n, (i) => `# ${i}\n`)]],
  ['brackets', [2000, (n) => '['.repeat(n)]],
  ['markers', [500, (n) => '---\n'.repeat(n)]],
]);
for (const [what, [units, make]] of manifests) {
  test(`the time to read a manifest grows with its length: ${what}`, () => {
    assertLinear(
      what,
      units,
      (count) => encodeUtf8(make(count)),
      (bytes) => {
        const set = new ManifestSet();
        set.accept('x.yaml', set.parse('x.yaml', bytes));
        set.takeChanges();
        set.problems();
        // The next version of the file has every document at another place.
        const next = encodeUtf8('---\na: b\n');
        const moved = new Uint8Array(next.length + bytes.length);
        moved.set(next);
        moved.set(bytes, next.length);
        set.accept('x.yaml', set.parse('x.yaml', moved));
        set.takeChanges();
        set.accept('x.yaml', set.parse('x.yaml', new Uint8Array(0)));
        set.takeChanges();
      },
    );
  });
}
