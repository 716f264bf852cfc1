import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The repository's root, in which the examples of the help texts run. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

/** The environment of a command that simulates a system other than Linux. */
export const elsewhere: NodeJS.ProcessEnv = {
  ...process.env,
  NODE_OPTIONS: `--import=${new URL('elsewhere.ts', import.meta.url)}`,
};

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the real `heddle` command. */
export function startHeddle(args: readonly string[], options: SpawnOptions = {}): ChildProcess {
  return spawn(process.execPath, [main, ...args], {
    cwd: root,
    ...options,
    env: { ...process.env, HEDDLE_DEBUG: '', NO_COLOR: '1', ...options.env },
  });
}

/** Runs the real `heddle` command until it ends. */
export function heddle(args: readonly string[], options: SpawnOptions = {}): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = startHeddle(args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data) => {
      stdout += data;
    });
    child.stderr?.on('data', (data) => {
      stderr += data;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}
