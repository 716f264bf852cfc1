import { execFile } from 'node:child_process';

/** Runs a tool and returns what it printed; undefined when it is not installed. */
export type RunTool = (
  command: string,
  args: readonly string[],
  input?: string,
) => Promise<string | undefined>;

/** A tool that ended otherwise than well. The message has what it said. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

// Rules of 100,000 endpoints are some 100 MB of text.
const largestOutput = 1024 * 1024 * 1024;

/** Runs a tool, without a shell, also from where only root looks. Throws ToolError. */
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
    // A tool that ends before it has read everything says why by itself.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
