import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findOffences, type Rules } from './rules.ts';

const rules: Rules = {
  layers: {
    sys: { imports: [] },
    wire: { imports: ['sys'], tests: ['lab'] },
    lab: { imports: ['sys'] },
    tools: { imports: ['sys'] },
    bench: { imports: ['sys', 'tools'] },
  },
  core: ['sys', 'wire'],
};

const manifest = (fields: object = {}) =>
  JSON.stringify({
    exports: { '.': './src/index.ts', './testing/*': './testing/*.ts' },
    ...fields,
  });
const declared = { dependencies: { '@heddle/sys': '1' } };

/** A tree without an offence. */
const clean = {
  'package.json': JSON.stringify({ devDependencies: { yaml: '1' } }),
  'packages/sys/package.json': manifest(),
  'packages/sys/src/index.ts': "export { read } from './read.ts';",
  'packages/sys/src/read.ts': 'export const read = 1;',
  'packages/sys/src/node/files.ts': "import { readFileSync } from 'node:fs';",
  'packages/wire/package.json': manifest({ ...declared, devDependencies: { '@heddle/lab': '1' } }),
  'packages/wire/src/index.ts': "import { read } from '@heddle/sys';",
  'packages/wire/src/index.node.test.ts': "import { lab } from '@heddle/lab/testing/world';",
  'packages/lab/package.json': manifest(declared),
  'packages/lab/src/index.ts': "import type { Read } from '@heddle/sys';",
  'packages/lab/testing/world.ts': "import { index } from '../src/index.ts';",
  'tools/check.ts': "import { read } from '@heddle/sys';\nimport { parse } from 'yaml';",
  'bench/main.ts': "import { check } from '../tools/check.ts';",
};

/** Returns the offences of the clean tree with some files added or replaced. */
function offences(changes: Readonly<Record<string, string>>, by: Rules = rules): string[] {
  return findOffences(new Map(Object.entries({ ...clean, ...changes })), by);
}

test('a tree that keeps the rules has no offence', () => {
  assert.deepEqual(offences({}), []);
});

describe('an offence is found', () => {
  const cases: readonly [string, string, string, string][] = [
    [
      'an import of a package above',
      'packages/sys/src/up.ts',
      "import { wire } from '@heddle/wire';",
      'imports @heddle/wire: sys may not import wire (tools/layers.ts)',
    ],
    [
      'a test that imports a package not listed for tests',
      'packages/sys/src/up.test.ts',
      "import { lab } from '@heddle/lab';",
      'imports @heddle/lab: tests of sys may not import lab (tools/layers.ts)',
    ],
    [
      'a relative path into another package',
      'packages/wire/src/deep.ts',
      "import { read } from '../../sys/src/read.ts';",
      'imports ../../sys/src/read.ts: use what @heddle/sys exports',
    ],
    [
      'a relative path of a test into the tests of another package',
      'packages/wire/testing/deep.ts',
      "import { world } from '../../lab/testing/world.ts';",
      'imports ../../lab/testing/world.ts: use what @heddle/lab exports',
    ],
    [
      'a relative path from bench into a package',
      'bench/deep.ts',
      "const { read } = await import('../packages/sys/src/read.ts');",
      'imports ../packages/sys/src/read.ts: use what @heddle/sys exports',
    ],
    [
      'an import of tools by a package',
      'packages/wire/src/tool.ts',
      "import { check } from '../../../tools/check.ts';",
      'imports ../../../tools/check.ts: wire may not import tools',
    ],
    [
      'an import of bench by tools',
      'tools/run.ts',
      "import { main } from '../bench/main.ts';",
      'imports ../bench/main.ts: tools may not import bench',
    ],
    [
      'a path that a package does not export',
      'packages/wire/src/inner.ts',
      "export * from '@heddle/sys/src/read.ts';",
      'imports @heddle/sys/src/read.ts: @heddle/sys does not export ./src/read.ts',
    ],
    [
      'a package that does not exist',
      'packages/wire/src/gone.ts',
      "import '@heddle/gone';",
      'imports @heddle/gone: there is no such package',
    ],
    [
      'an import of test code by production code through a path',
      'packages/lab/src/tested.ts',
      "import { world } from '../testing/world.ts';",
      'imports ../testing/world.ts: only tests import code for tests',
    ],
    [
      'an import of test code by production code through a name',
      'packages/wire/src/tested.ts',
      "import { x } from '@heddle/sys/testing/x';",
      'imports @heddle/sys/testing/x: only tests import code for tests',
    ],
    [
      'a dependency that only the manifest of another package declares',
      'packages/lab/src/yaml.ts',
      "import { parse } from 'yaml';",
      'imports yaml: packages/lab/package.json does not declare yaml',
    ],
    [
      'a module of Node.js in the portable core',
      'packages/wire/src/fs.ts',
      "import { readFileSync } from 'node:fs';",
      'imports node:fs: the portable core uses ES2023 and Platform only',
    ],
    [
      'a module of Node.js in a pure test of the portable core',
      'packages/wire/src/fs.test.ts',
      "import { readFileSync } from 'node:fs';",
      'imports node:fs: a pure test runs in QuickJS too',
    ],
    [
      'a package that imports itself by its name',
      'packages/sys/src/self.ts',
      "import { read } from '@heddle/sys';",
      'imports @heddle/sys: a package imports its own files by their paths',
    ],
  ];
  for (const [title, file, source, expected] of cases) {
    test(title, () => {
      assert.deepEqual(offences({ [file]: source }), [`${file}: ${expected}`]);
    });
  }

  test('a dependency of tests that production code imports', () => {
    const found = offences({
      'packages/wire/package.json': manifest({
        devDependencies: { '@heddle/sys': '1', '@heddle/lab': '1' },
      }),
    });
    assert.deepEqual(found, [
      'packages/wire/src/index.ts: imports @heddle/sys: packages/wire/package.json does not declare @heddle/sys',
      'packages/wire/package.json: declares @heddle/sys, which no file imports',
    ]);
  });

  test('a dependency that is declared and not used', () => {
    const found = offences({
      'packages/sys/package.json': manifest({ dependencies: { koffi: '1' } }),
    });
    assert.deepEqual(found, ['packages/sys/package.json: declares koffi, which no file imports']);
  });

  test('a list of layers that does not point down', () => {
    const layers = { ...rules.layers, sys: { imports: ['wire'] } };
    assert.deepEqual(offences({}, { ...rules, layers }), [
      'layers: sys imports wire, which does not stand below it',
    ]);
  });
});

describe('a circle of imports inside a package', () => {
  const circle = {
    'packages/sys/src/a.ts': "import { b } from './b.ts';",
    'packages/sys/src/b.ts': "import type { C } from './deeper/c.ts';",
    'packages/sys/src/deeper/c.ts': "const { a } = await import('../a.ts');",
  };
  const sentence =
    'packages/sys/src/a.ts, packages/sys/src/b.ts, packages/sys/src/deeper/c.ts: they import each other in a circle';

  test('is found, through types and dynamic imports too', () => {
    assert.deepEqual(offences(circle), [sentence]);
  });

  test('is found once when others import its files', () => {
    const more = {
      'packages/sys/src/before.ts': "import { b } from './b.ts';",
      'packages/sys/src/other.ts': "import { c } from './deeper/c.ts';",
    };
    assert.deepEqual(offences({ ...more, ...circle }), [sentence]);
  });
});
