import { test } from 'node:test';
import { serviceReader } from '@heddle/objects';
import { encodeUtf8 } from '@heddle/sys';
import { assertLinear } from '@heddle/sys/testing/growth';
import { ManifestSet } from './source/manifest-set.ts';

// A process that can write into the folder must not be able to keep the agent busy.

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
        const set = new ManifestSet(serviceReader);
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
