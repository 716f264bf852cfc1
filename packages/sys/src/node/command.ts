import type { RunOptions, RunResult } from '../platform.ts';

const maxOutputBytes = 1024 * 1024;

/** Runs a command (see Platform.run). node:child_process is loaded at the first use. */
export function runCommand(options: RunOptions, onExit: (result: RunResult) => void): Disposable {
  const { spawn } = process.getBuiltinModule('node:child_process');
  const { command, args, env } = options;
  const output = { stdout: new Output(), stderr: new Output() };
  let isOver = false;
  const end = (rest: Pick<RunResult, 'exitCode' | 'error'>) => {
    if (isOver) return;
    isOver = true;
    onExit({ stdout: output.stdout.bytes(), stderr: output.stderr.bytes(), ...rest });
  };
  const child = spawn(command, [...args], { env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Uint8Array) => {
      if (output[name].add(chunk)) return;
      child.kill('SIGKILL');
      end({ error: new Error(`run ${command}: it wrote more than 1 MiB to its ${name}`) });
    });
  }
  child.on('error', (error: NodeJS.ErrnoException) => {
    const cause = error.code === 'ENOENT' ? 'no such command' : (error.code ?? error.message);
    end({ error: new Error(`run ${command}: ${cause}`) });
  });
  child.on('close', (code, signal) => {
    if (code !== null) end({ exitCode: code });
    else end({ error: new Error(`run ${command}: killed by ${signal}`) });
  });
  return {
    [Symbol.dispose]() {
      if (isOver) return;
      isOver = true;
      child.kill('SIGKILL');
    },
  };
}

/** The bytes of one output of a command. */
class Output {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  /** Adds `chunk`. Returns false if there is no room for it. */
  add(chunk: Uint8Array): boolean {
    if (this.#length + chunk.length > maxOutputBytes) return false;
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    return true;
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }
}
