// Builds the published libraries, each in a folder of dist/npm: JavaScript and declarations for
// Node.js 20 and newer, and a package.json whose exports name them. In the workspace, package.json
// names the TypeScript sources, which Node.js runs without a build, but not below node_modules.
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { root } from '../files.ts';

/** The published libraries. Each one comes after those that it depends on. */
export const libraries = ['sys', 'state', 'ebpf', 'netlink', 'kube', 'vm'] as const;

/** The folder that has one folder for each published package. */
export const published = `${root}dist/npm/`;

/** Exports for the workspace's own tests and command. */
const unpublished = /^\.\/(testing\/\*|node\/memory)$/;

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** Returns a package.json of the workspace. */
export function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(`${root}${folder}/package.json`, 'utf8'));
}

/** Fields that all published packages have. */
function commonFields(directory: string) {
  const { license, repository } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
    license: string;
    repository?: object;
  };
  // process.getBuiltinModule exists since 20.16.
  const engines = { node: '>=20.16' };
  return { license, engines, ...(repository && { repository: { ...repository, directory } }) };
}

/** Writes package.json, README.md and LICENSE of a published package to its folder. */
export function finishPackage(folder: string, source: string, fields: object): void {
  const manifest = { ...fields, ...commonFields(source) };
  writeFileSync(`${folder}/package.json`, `${JSON.stringify(manifest, null, 2)}\n`);
  copyFileSync(`${root}${source}/README.md`, `${folder}/README.md`);
  copyFileSync(`${root}LICENSE`, `${folder}/LICENSE`);
}

/** Writes all libraries to `published`. */
export function buildLibraries(): void {
  rmSync(published, { recursive: true, force: true });
  execFileSync(`${root}node_modules/.bin/tsc`, ['-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  });
  for (const name of libraries) {
    const folder = published + name;
    renameSync(`${folder}/src`, `${folder}/dist`);
    nameDeclarations(folder);
    const {
      name: full,
      version,
      description,
      exports,
      dependencies,
    } = manifestOf(`packages/${name}`);
    finishPackage(folder, `packages/${name}`, {
      ...{ name: full, version, description, type: 'module' },
      exports: Object.fromEntries(
        Object.entries(exports)
          .filter(([path]) => !unpublished.test(path))
          .map(([path, source]) => {
            const file = source.replace(/^\.\/src\/(.*)\.ts$/, './dist/$1');
            return [path, { types: `${file}.d.ts`, default: `${file}.js` }];
          }),
      ),
      files: ['dist'],
      dependencies,
    });
  }
}

/**
 * Makes relative imports in declarations name the JavaScript files, as those in the JavaScript do, and
 * adds the types of `using`, which the declarations mention.
 */
function nameDeclarations(folder: string): void {
  for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.d.ts')) continue;
    const path = `${folder}/${file}`;
    const text = readFileSync(path, 'utf8').replace(/(['"])(\.{1,2}\/[^'"]+)\.ts\1/g, '$1$2.js$1');
    writeFileSync(path, `/// <reference lib="esnext.disposable" />\n${text}`);
  }
}
