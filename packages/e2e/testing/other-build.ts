import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Returns a message if the history of this checkout lacks a commit, else undefined. */
export function missingCommit(commit: string): string | undefined {
  const found = spawnSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: root });
  if (found.status === 0) return undefined;
  return `the history of this checkout lacks commit ${commit} (git fetch --unshallow)`;
}

/** A folder with the sources of another commit and this checkout's libraries. */
export class OtherBuild implements Disposable {
  readonly #folder: string;
  /** The path of the commit's `heddle` command. */
  readonly program: string;

  constructor(commit: string) {
    this.#folder = mkdtempSync(`${tmpdir()}/heddle-${commit}-`);
    this.program = `${this.#folder}/packages/cli/src/main.ts`;
    try {
      const archive = execFileSync('git', ['archive', commit, 'packages', 'package.json'], {
        cwd: root,
        maxBuffer: 1 << 28,
      });
      execFileSync('tar', ['-x', '-C', this.#folder], { input: archive });
      this.#link();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Links libraries to those of this checkout, and packages of the workspace to the commit's own. */
  #link(): void {
    const from = `${root}node_modules`;
    const to = `${this.#folder}/node_modules`;
    mkdirSync(`${to}/@heddle`, { recursive: true });
    for (const name of readdirSync(from)) {
      if (name !== '@heddle' && !name.startsWith('.'))
        symlinkSync(`${from}/${name}`, `${to}/${name}`);
    }
    for (const name of readdirSync(`${this.#folder}/packages`)) {
      symlinkSync(`${this.#folder}/packages/${name}`, `${to}/@heddle/${name}`);
    }
  }
}
