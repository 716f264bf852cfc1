// Tests the packages as they are published. They are installed from tarballs into an empty project, a
// strict consumer is type-checked against them, the first example of each README runs, and the command
// `heddle` is installed globally and reports the status of an agent. `npx heddle` runs in the workspace. This Node.js runs all of it, and
// those whose versions are arguments, which come from the npm registry:
//   node tools/packages/test.ts 20.20.2 22.23.5
// Everything else comes from node_modules, without a network. It needs root.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buildCommand } from '../build.ts';
import { root } from '../files.ts';
import { testCommand } from './command.ts';
import { Examples } from './examples.ts';
import { buildLibraries, libraries, published } from './libraries.ts';
import { LocalRegistry } from './registry.ts';
import { run } from './run.ts';

/** The dependencies of the published packages, and the types that the examples need. */
const dependencies = [
  ...['koffi', `@koromix/koffi-linux-${process.arch}`, 'valibot', 'yaml'],
  ...['@types/node', 'undici-types'],
].map((name) => `${root}node_modules/${name}`);

/** The strictest options that a consumer can have. */
const tsconfig = {
  compilerOptions: {
    ...{ target: 'ES2022', module: 'NodeNext', lib: ['ES2023', 'ESNext.Disposable'] },
    ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true },
    ...{ skipLibCheck: false, types: ['node'], outDir: 'out' },
  },
  include: ['*.ts'],
};

const folder = mkdtempSync(join(tmpdir(), 'heddle-packages-'));
try {
  await testPackages(process.argv.slice(2));
} finally {
  rmSync(folder, { recursive: true });
}

async function testPackages(versions: readonly string[]): Promise<void> {
  await run('npx', ['heddle', 'version'], { cwd: root });
  console.log('ok     npx heddle in the workspace');
  buildLibraries();
  await buildCommand();
  const folders = [...libraries, 'heddle'].map((name) => published + name);
  mkdirSync(`${folder}/tarballs`);
  await using registry = await LocalRegistry.start(
    [...folders, ...dependencies],
    `${folder}/tarballs`,
  );
  await checkContents();
  const project = await install(registry.url);
  await using examples = await Examples.start(project);
  for (const node of [process.execPath, ...(await nodes(versions))]) {
    const version = (await run(node, ['--version'])).trim();
    for (const name of libraries) {
      await examples.run(node, name);
      console.log(`ok     the example of ${name} on Node.js ${version}`);
    }
    await testCommand(folder, registry.url, dirname(node));
    console.log(`ok     npm install -g and heddle status on Node.js ${version}`);
  }
}

/** Fails when a tarball has tests, or TypeScript other than declarations. */
async function checkContents(): Promise<void> {
  for (const name of libraries) {
    const { version } = JSON.parse(readFileSync(`${published}${name}/package.json`, 'utf8'));
    const file = `${folder}/tarballs/heddle-${name}-${version}.tgz`;
    const files = (await run('tar', ['-tzf', file])).trim().split('\n');
    const wrong = files.filter(
      (path) => /\.test\.|\/test(ing|data)?\//.test(path) || /(?<!\.d)\.ts$/.test(path),
    );
    if (wrong.length > 0) throw new Error(`pack ${name}: it has ${wrong.join(', ')}`);
  }
}

/** Installs the libraries into an empty project and type-checks the examples. Returns its folder. */
async function install(registry: string): Promise<string> {
  const project = `${folder}/project`;
  mkdirSync(project);
  writeFileSync(`${project}/package.json`, JSON.stringify({ private: true, type: 'module' }));
  writeFileSync(`${project}/tsconfig.json`, JSON.stringify(tsconfig));
  const names = [...libraries.map((name) => `@heddle/${name}`), '@types/node'];
  const flags = ['--registry', registry, '--ignore-scripts', '--no-audit', '--no-fund'];
  await run('npm', ['install', ...flags, ...names], { cwd: project });
  for (const name of libraries) {
    const readme = readFileSync(`${project}/node_modules/@heddle/${name}/README.md`, 'utf8');
    const example = /^```ts\n(.*?)^```$/ms.exec(readme)?.[1];
    if (!example) throw new Error(`read README.md of ${name}: it has no example`);
    writeFileSync(`${project}/${name}.ts`, example);
  }
  writeFileSync(`${project}/everything.ts`, importsOfEverything(project));
  await run(`${root}node_modules/.bin/tsc`, ['-p', project]);
  console.log('ok     a strict consumer of all packages');
  for (const file of ['connects.o', 'packets.o']) {
    copyFileSync(`${root}packages/ebpf/testdata/${file}`, `${project}/${file}`);
  }
  return project;
}

/** Returns a module that imports all exports of the libraries, so that all their types are checked. */
function importsOfEverything(project: string): string {
  const paths = libraries.flatMap((name) => {
    const manifest = readFileSync(`${project}/node_modules/@heddle/${name}/package.json`, 'utf8');
    const exports: object = JSON.parse(manifest).exports;
    return Object.keys(exports).map((path) => join(`@heddle/${name}`, path));
  });
  return paths.map((path, i) => `export * as module${i} from '${path}';\n`).join('');
}

/** Installs each version of Node.js from the npm registry. Returns their paths. */
async function nodes(versions: readonly string[]): Promise<string[]> {
  const paths: string[] = [];
  for (const version of versions) {
    const name = `node-linux-${process.arch}`;
    const prefix = `${folder}/node-${version}`;
    const flags = ['--prefix', prefix, '--no-audit', '--no-fund'];
    await run('npm', ['install', ...flags, `${name}@${version}`]);
    paths.push(`${prefix}/node_modules/${name}/bin/node`);
  }
  return paths;
}
