// Builds dist/heddle.mjs: the command `heddle` as one JavaScript file. Node.js then needs no
// TypeScript support, which costs the agent some 50 MiB of memory. When it is run, it also builds
// the published packages, the command and the libraries, as folders of dist/npm.
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { buildPage } from '@heddle/web/build';
import { build, type Plugin } from 'esbuild';
import { root } from './files.ts';
import { buildLibraries, finishPackage, manifestOf, published } from './packages/libraries.ts';

/**
 * The path of the built program. koffi is not bundled, because it has a native library for each
 * platform.
 */
export const program = `${root}dist/heddle.mjs`;

const assets: Plugin = {
  name: 'assets',
  setup({ onLoad }) {
    onLoad({ filter: /\/packages\/assets\/src\/index\.ts$/ }, () => {
      const manifest = JSON.parse(readFileSync(`${root}packages/assets/package.json`, 'utf8'));
      const folder = `${root}packages/datapath/objects`;
      const files = readdirSync(folder).filter((file) => file.endsWith('.o'));
      const entries = files.map((file) => [file.slice(0, -2), `${folder}/${file}`] as const);
      const plugin = (arch: string) => JSON.stringify(`${root}packages/assets/cni/${arch}.elf`);
      return {
        contents: [
          ...entries.map(([name, path]) => `import ${name} from ${JSON.stringify(path)};`),
          `const all = { ${entries.map(([name]) => name).join(', ')} };`,
          `export const version = () => ${JSON.stringify(manifest.version)};`,
          'export const objects = (name) => all[name];',
          `import x64 from ${plugin('x64')};`,
          `import arm64 from ${plugin('arm64')};`,
          'export const cniPlugin = (arch) => ({ x64, arm64 })[arch];',
        ].join('\n'),
        resolveDir: root,
        loader: 'js',
      };
    });
  },
};

/** Puts the built web page in the place of its build, which needs the compiler of Svelte. */
const page: Plugin = {
  name: 'page',
  setup({ onLoad }) {
    onLoad({ filter: /\/packages\/web\/src\/build\.ts$/ }, async () => {
      const decoder = new TextDecoder();
      const files = Object.entries(await buildPage()).map(([name, { type, body, hash }]) => {
        const text = JSON.stringify(decoder.decode(body));
        const rest = JSON.stringify({ type, hash });
        return `${JSON.stringify(name)}: { ...${rest}, body: encoder.encode(${text}) }`;
      });
      return {
        contents: [
          'const encoder = new TextEncoder();',
          `export const buildPage = async () => ({ ${files.join(', ')} });`,
        ].join('\n'),
        loader: 'js',
      };
    });
  },
};

/**
 * Defers imports of Node.js modules until the importing module is loaded. In one ES module all
 * imports are loaded at the start, and the agent would load modules that only other commands use.
 */
const builtins: Plugin = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(node:|koffi$)/ }, ({ path, kind }) =>
      kind === 'import-statement' ? { path, namespace: 'builtin' } : { external: true },
    );
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = require(${JSON.stringify(path)});`,
    }));
  },
};

/** Writes `program`. */
export async function buildProgram(): Promise<void> {
  await build({
    entryPoints: [`${root}packages/cli/src/main.ts`],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['koffi'],
    loader: { '.o': 'binary', '.elf': 'binary' },
    plugins: [assets, page, builtins],
    // CommonJS packages in the bundle need `require`.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    logLevel: 'warning',
  });
}

/** Writes the package `heddle` to dist/npm: the built program as a command. */
export async function buildCommand(): Promise<void> {
  await buildProgram();
  const folder = `${published}heddle`;
  mkdirSync(folder, { recursive: true });
  copyFileSync(program, `${folder}/heddle.mjs`);
  const { version, description } = manifestOf('packages/cli');
  const { koffi } = manifestOf('packages/sys').dependencies!;
  finishPackage(folder, 'packages/cli', {
    ...{ name: 'heddle', version, description, type: 'module' },
    ...{ bin: { heddle: 'heddle.mjs' }, files: ['heddle.mjs'], os: ['linux'] },
    dependencies: { koffi },
  });
}

if (import.meta.main) {
  buildLibraries();
  await buildCommand();
  console.log(`${program}\n${published}`);
}
