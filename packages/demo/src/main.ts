// The demo behind `npm start`; see README.md of the project.
import { parseArgs } from 'node:util';
import { printableLines } from '@heddle/cli/printable';
import { exitCodes, explain, Failure } from '@heddle/control/failure';
import { preflight } from '@heddle/control/preflight';
import { nodePlatform } from '@heddle/sys/node';
import { Demo } from './demo.ts';
import { type EngineName, engineLabels } from './engine.ts';
import { KernelEngine } from './kernel-engine.ts';
import { runLines, runLive } from './live.ts';
import { runOnce } from './once.ts';
import { VmEngine } from './vm-engine.ts';

const usage = `usage: npm start [-- [--engine=kernel|vm] [--ui | --once [--json]]]

  npm start                     live view on a terminal, else a line per second
  npm start -- --ui             the same, and the web page with the lab's flows
  npm start -- --once           4,000 requests, then a summary
  npm start -- --once --json    the same as one JSON object
  npm start -- --engine=vm      in the userspace machine: without root or Linux; the
                                default where the kernel can't be used
`;

/** Signals that end the demo, each with the exit code that shells expect. */
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

type Cleanup = () => void | Promise<void>;

const cleanups: Cleanup[] = [];
let ended = false;

/** Runs the cleanups, latest first, and ends the process. Further calls do nothing. */
async function end(exitCode: number): Promise<void> {
  if (ended) return;
  ended = true;
  for (const cleanup of cleanups.reverse()) {
    try {
      await cleanup();
    } catch (error) {
      printError(error);
      exitCode ||= exitCodes.failed;
    }
  }
  process.exit(exitCode);
}

/** Ends the process with the error's message and exit code. */
async function fail(error: unknown): Promise<void> {
  // The message follows the cleanups, which restore the terminal.
  if (!ended) cleanups.unshift(() => printError(error));
  await end(explain(error).exitCode);
}

function printError(error: unknown): void {
  process.stderr.write(printableLines(`heddle demo: ${explain(error).message}\n`));
}

/** Returns the exit code. */
async function main(): Promise<number> {
  const { once, json, ui, help, engine: requested } = readArguments();
  if (help) {
    process.stdout.write(usage);
    return exitCodes.ok;
  }
  const engine = chooseEngine(requested);
  if (ui && engine === 'vm') {
    const why = 'the userspace machine has no flows for it (npm start -- --help shows the options)';
    throw new Failure(exitCodes.usage, `show the page: ${why}`);
  }

  const live = !once;
  for (const [signal, exitCode] of Object.entries(signals)) {
    // Ctrl-C is the usual end of the live demo, so it is no failure.
    process.on(signal, () => end(live && signal === 'SIGINT' ? exitCodes.ok : exitCode));
  }
  endWithNpm();
  let changed = () => {};
  const demo = new Demo(
    (watch) =>
      engine === 'vm' ? new VmEngine(watch) : new KernelEngine(nodePlatform(), watch, ui),
    () => changed(),
    fail,
  );
  cleanups.push(() => demo.close());
  const scene = {
    demo,
    hasPage: ui,
    onEnd: (cleanup: Cleanup) => cleanups.push(cleanup),
    onChange: (draw: () => void) => {
      changed = draw;
    },
  };
  if (once) return (await runOnce(demo, json)) ? exitCodes.ok : exitCodes.failed;
  if (process.stdout.isTTY) await runLive(scene);
  else await runLines(scene);
  return exitCodes.ok;
}

/**
 * Returns the requested engine. The default is the kernel, if it can be used, or else the userspace machine;
 * a line on stderr then has the reason.
 */
function chooseEngine(requested: string | undefined): EngineName {
  if (requested === 'vm') return requested;
  const missing = preflight();
  if (!missing) return 'kernel';
  if (requested === 'kernel') throw new Failure(missing.exitCode, missing.message);
  const note = 'Running in the userspace machine (--engine=vm) instead.';
  process.stderr.write(`heddle demo: ${missing.message}. ${note}\n`);
  return 'vm';
}

/** Ends the demo when npm has ended: SIGKILL or SIGHUP to npm alone doesn't reach the demo. */
function endWithNpm(): void {
  if (process.env.npm_lifecycle_event !== 'start') return;
  const npm = process.ppid;
  setInterval(() => {
    if (process.ppid !== npm) void end(signals.SIGHUP);
  }, 250).unref();
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        ui: { type: 'boolean', default: false },
        engine: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.json && !values.once) throw new Error('--json needs --once');
    if (values.ui && values.once)
      throw new Error('--ui shows a page until the demo ends, so --once cannot be given with it');
    const { engine } = values;
    if (engine !== undefined && !(engine in engineLabels)) {
      throw new Error(`--engine is kernel or vm, not ${engine}`);
    }
    return values;
  } catch (error) {
    const { message } = error as Error;
    throw new Failure(exitCodes.usage, `${message} (npm start -- --help shows the options)`);
  }
}

// A closed pipe (`npm start | head`) ends the demo as q does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  void (error.code === 'EPIPE' || error.code === 'EIO' ? end(exitCodes.ok) : fail(error));
});

try {
  const exitCode = await main();
  await end(exitCode);
} catch (error) {
  await fail(error);
}
