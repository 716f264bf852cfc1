import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** Returns why the history of this checkout lacks a commit, or undefined when it has it. */
export function missingCommit(commit: string): string | undefined {
  const found = spawnSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: root });
  if (found.status === 0) return undefined;
  return `the history of this checkout lacks commit ${commit} (git fetch --unshallow)`;
}

/** The sources of another commit in a folder of their own, with this checkout's libraries. */
export class OtherBuild implements Disposable {
  readonly #folder: string;
  /** The path of its command `heddle`. */
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
