import { isPureTest } from '../files.ts';
import { areaOf, circlesIn, importsOf, resolveRelative } from './imports.ts';

/** The packages that an area may import. */
export interface Layer {
  readonly imports: readonly string[];
  /** The packages that only its tests import. */
  readonly tests?: readonly string[];
}

export interface Rules {
  /** The packages from the bottom up; each one's imports come before it in this list. */
  readonly layers: Readonly<Record<string, Layer>>;
  /** The packages of the portable core. */
  readonly core: readonly string[];
}

/** npm packages that the core may use: pure JavaScript that calls no platform API. */
const coreLibraries = new Set(['valibot', 'yaml']);
const pureTestLibraries = new Set(['node:test', 'node:assert/strict', 'fast-check']);

interface Manifest {
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/**
 * Returns a sentence for each offence against the rules. `files` holds the text of all TypeScript
 * sources and of all `package.json` files, by their paths.
 */
export function findOffences(files: ReadonlyMap<string, string>, rules: Rules): string[] {
  const check = new LayerCheck(files, rules);
  return [...check.order(), ...check.imports(), ...check.unused(), ...check.circles()];
}

class LayerCheck {
  readonly #sources: ReadonlyMap<string, string>;
  readonly #manifests: ReadonlyMap<string, Manifest>;
  readonly #rules: Rules;

  constructor(files: ReadonlyMap<string, string>, rules: Rules) {
    const paths = [...files];
    this.#sources = new Map(paths.filter(([path]) => path.endsWith('.ts')));
    this.#manifests = new Map(
      paths
        .filter(([path]) => path.endsWith('package.json'))
        .map(([path, text]) => [path.slice(0, -'package.json'.length), JSON.parse(text)]),
    );
    this.#rules = rules;
  }

  /** Checks that the list of layers points down only. */
  order(): string[] {
    const names = Object.keys(this.#rules.layers);
    return names.flatMap((name, at) =>
      this.#rules.layers[name]!.imports.filter((each) => names.indexOf(each) >= at).map(
        (each) => `layers: ${name} imports ${each}, which does not stand below it`,
      ),
    );
  }

  imports(): string[] {
    return [...this.#sources].flatMap(([file, source]) =>
      importsOf(source).flatMap((target) => {
        const offence = this.#offence(file, target);
        return offence === undefined ? [] : [`${file}: imports ${target}: ${offence}`];
      }),
    );
  }

  /** Checks that a manifest declares only dependencies that the package imports. */
  unused(): string[] {
    return [...this.#manifests].flatMap(([folder, { dependencies = {}, devDependencies = {} }]) => {
      if (!folder.startsWith('packages/')) return [];
      const files = [...this.#sources].filter(([file]) => file.startsWith(folder));
      const imported = (isTest: boolean) =>
        new Set(
          files
            .filter(([file]) => isTestCode(file) === isTest)
            .flatMap(([, source]) => importsOf(source).map(packageOfImport)),
        );
      const [production, tests] = [imported(false), imported(true)];
      return [
        ...Object.keys(dependencies).filter((name) => !production.has(name)),
        ...Object.keys(devDependencies).filter((name) => !tests.has(name)),
      ].map((name) => `${folder}package.json: declares ${name}, which no file imports`);
    });
  }

  circles(): string[] {
    return circlesIn(this.#sources).map(
      (circle) => `${circle.join(', ')}: they import each other in a circle`,
    );
  }

  #offence(file: string, target: string): string | undefined {
    if (target.startsWith('.')) return this.#relativeOffence(file, resolveRelative(file, target));
    if (target.startsWith('@heddle/')) return this.#siblingOffence(file, target);
    return this.#libraryOffence(file, target);
  }

  #relativeOffence(file: string, path: string): string | undefined {
    const [own, other] = [areaOf(file), areaOf(path)];
    if (own === other) {
      return isTestCode(path) && !isTestCode(file) ? 'only tests import code for tests' : undefined;
    }
    if (path.startsWith('packages/')) return `use what @heddle/${other} exports`;
    return this.#allowed(file).includes(other) ? undefined : `${own} may not import ${other}`;
  }

  #siblingOffence(file: string, target: string): string | undefined {
    const own = areaOf(file);
    const isTest = isTestCode(file);
    const name = packageOfImport(target);
    const sibling = name.slice('@heddle/'.length);
    const manifest = this.#manifests.get(`packages/${sibling}/`);
    if (!manifest) return 'there is no such package';
    const path = `.${target.slice(name.length)}`;
    if (!isExported(manifest, path)) return `${name} does not export ${path}`;
    if (path.startsWith('./testing/') && !isTest) return 'only tests import code for tests';
    if (target === '@heddle/sys/node' && this.#isCore(file) && !isTest) {
      return 'the core takes a Platform';
    }
    if (sibling === own)
      return isTest ? undefined : 'a package imports its own files by their paths';
    if (!this.#allowed(file).includes(sibling)) {
      return `${isTest ? `tests of ${own}` : own} may not import ${sibling} (tools/layers.ts)`;
    }
    return this.#undeclared(file, name);
  }

  #allowed(file: string): readonly string[] {
    const { imports = [], tests = [] } = this.#rules.layers[areaOf(file)] ?? {};
    return isTestCode(file) ? [...imports, ...tests] : imports;
  }

  #libraryOffence(file: string, target: string): string | undefined {
    if (this.#isCore(file)) {
      if (isPureTest(file)) {
        if (!pureTestLibraries.has(target)) return 'a pure test runs in QuickJS too';
      } else if (!isTestCode(file) && !coreLibraries.has(target)) {
        return 'the portable core uses ES2023 and Platform only';
      }
    }
    return target.startsWith('node:') ? undefined : this.#undeclared(file, packageOfImport(target));
  }

  /**
   * Checks that the manifest of a file's package declares its imports; bench and tools use that of
   * the root.
   */
  #undeclared(file: string, name: string): string | undefined {
    const isPackage = file.startsWith('packages/');
    if (!isPackage && name.startsWith('@heddle/')) return undefined;
    const folder = isPackage ? `packages/${areaOf(file)}/` : '';
    const { dependencies = {}, devDependencies = {} } = this.#manifests.get(folder) ?? {};
    if (name in dependencies || (isTestCode(file) && name in devDependencies)) return undefined;
    return `${folder}package.json does not declare ${name}`;
  }

  #isCore(file: string): boolean {
    return this.#rules.core.includes(areaOf(file)) && !file.includes('/sys/src/node/');
  }
}

/** Returns true for files that only tests, benchmarks or tools use. */
export function isTestCode(file: string): boolean {
  return (
    !file.startsWith('packages/') ||
    file.endsWith('.test.ts') ||
    /^packages\/[^/]+\/(testing|examples|testdata|test)\//.test(file)
  );
}

function isExported({ exports = {} }: Manifest, path: string): boolean {
  return Object.keys(exports).some((key) => {
    const [head, tail] = key.split('*');
    return tail === undefined ? key === path : path.startsWith(head!) && path.endsWith(tail);
  });
}

/** Returns `@heddle/sys` for `@heddle/sys/node`, and `yaml` for `yaml/x`. */
function packageOfImport(target: string): string {
  return target
    .split('/')
    .slice(0, target.startsWith('@') ? 2 : 1)
    .join('/');
}
