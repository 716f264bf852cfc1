// Checks the portable core: its bundled pure tests must pass in QuickJS, which has ES2023 and
// nothing of Node.js.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { newQuickJSWASMModule, type QuickJSContext } from 'quickjs-emscripten';
import { corePackages, isPureTest, packageOf, projectFiles, root } from '../files.ts';

const own = (file: string) => fileURLToPath(new URL(file, import.meta.url));

/** Reads the file of a test's `fixture(name)`, which in QuickJS the host provides. */
const fixtures: Plugin = {
  name: 'fixtures',
  setup({ onLoad }) {
    onLoad({ filter: /\/testing\/fixture\.ts$/ }, ({ path }) => ({
      contents: `export const fixture = (name) =>
        new Uint8Array(readFixture(${JSON.stringify(path.replace(/testing\/fixture\.ts$/, 'testdata/'))} + name));`,
    }));
  },
};

/** fast-check asks for timers when it is loaded, and uses them for asynchronous properties only. */
const timersOfFastCheck: Plugin = {
  name: 'timers-of-fast-check',
  setup({ onLoad }) {
    onLoad({ filter: /\/node_modules\/fast-check\/.*\.js$/ }, ({ path }) => ({
      contents: `const setTimeout = undefined, clearTimeout = undefined;\n${readFileSync(path, 'utf8')}`,
    }));
  },
};

async function bundle(file: string): Promise<string> {
  const result = await build({
    stdin: {
      contents: `import './${file}'; export { collected } from 'node:test';`,
      resolveDir: root,
    },
    bundle: true,
    write: false,
    format: 'iife',
    globalName: 'tests',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['browser'],
    target: 'es2023',
    alias: { 'node:test': own('node-test.ts'), 'node:assert/strict': own('node-assert.ts') },
    plugins: [fixtures, timersOfFastCheck],
    logLevel: 'silent',
  });
  return result.outputFiles[0]!.text;
}

function unwrap(context: QuickJSContext, result: ReturnType<QuickJSContext['evalCode']>) {
  if (result.error) {
    const error = context.dump(result.error);
    result.error.dispose();
    throw new Error(`${error?.name}: ${error?.message}\n${error?.stack}`);
  }
  return result.value;
}

function evaluate(context: QuickJSContext, code: string, name: string): unknown {
  using value = unwrap(context, context.evalCode(code, name));
  return context.dump(value);
}

const core: readonly string[] = corePackages;

for (const name of core) {
  describe(`${name} in QuickJS`, () => {
    const files = projectFiles('.test.ts').filter(
      (file) => packageOf(file) === name && isPureTest(file),
    );
    for (const file of files) {
      test(file, async () => {
        const code = await bundle(file);
        // Each file runs in a new engine, so that tests don't affect each other.
        const runtime = (await newQuickJSWASMModule()).newRuntime();
        runtime.setMaxStackSize(1024 * 1024);
        const context = runtime.newContext();
        const read = context.newFunction('readFixture', (path) => {
          const bytes = readFileSync(context.getString(path));
          return context.newArrayBuffer(new Uint8Array(bytes).buffer);
        });
        context.setProp(context.global, 'readFixture', read);
        read.dispose();
        // ES2023 lacks it: the bundler lowers `using`, but keeps the name of the method.
        evaluate(context, "Symbol.dispose ??= Symbol.for('Symbol.dispose')", 'dispose');
        evaluate(context, code, file);
        const count = evaluate(context, 'tests.collected.length', 'count') as number;
        assert.ok(count > 0, 'the file has no tests');
        for (let i = 0; i < count; i++) {
          const title = evaluate(context, `tests.collected[${i}].name`, 'name');
          const run = `globalThis.outcome = 'pending';
            (async () => tests.collected[${i}].body({ name: '' }))().then(
              () => { globalThis.outcome = 'passed' },
              (error) => { globalThis.outcome = String(error) + '\\n' + (error && error.stack) });
            0;`;
          evaluate(context, run, 'run');
          const jobs = runtime.executePendingJobs();
          jobs.dispose();
          assert.equal(evaluate(context, 'outcome', 'outcome'), 'passed', `${title}`);
        }
      });
    }
  });
}
