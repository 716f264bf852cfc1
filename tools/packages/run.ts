import { type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';

/** Runs a command and returns what it writes to stdout. Throws Error with its output when it fails. */
export async function run(
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<string> {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout!.on('data', (data) => {
    stdout += data;
  });
  child.stderr!.on('data', (data) => {
    stderr += data;
  });
  const [code] = await once(child, 'close');
  if (code === 0) return stdout;
  const what = [command, ...args].join(' ').slice(0, 200);
  throw new Error(`run ${what}: it ended with ${code}\n${stdout}${stderr}`);
}
