import { execFile } from 'node:child_process';

/** Runs a tool and returns what it printed, or undefined when it is not installed. */
export type RunTool = (
  command: string,
  args: readonly string[],
  input?: string,
) => Promise<string | undefined>;

/** Thrown when a tool fails. The message has its output. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

// Rules of 100,000 endpoints are some 100 MB of text.
const largestOutput = 1024 * 1024 * 1024;

/** Runs a tool without a shell, found in PATH or the sbin directories. Throws ToolError. */
export const runTool: RunTool = (command, args, input) =>
  new Promise((resolve, reject) => {
    const env = {
      ...process.env,
      PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/local/sbin`,
      LC_ALL: 'C',
    };
    const child = execFile(
      command,
      args,
      { env, maxBuffer: largestOutput },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        if (error.code === 'ENOENT') return resolve(undefined);
        const cause = stderr.trim().split('\n').slice(-2).join(' ') || error.message;
        reject(new ToolError(`run ${[command, ...args].join(' ')}: ${cause}`));
      },
    );
    // A tool that ends before it has read everything reports the error itself.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
