// The demo behind `npm start`; see README.md of the project.
import { parseArgs } from 'node:util';
import { printableLines } from '@heddle/cli/printable';
import { exitCodes, explain, Failure } from '@heddle/control/failure';
import { preflight } from '@heddle/control/preflight';
import { nodePlatform } from '@heddle/sys/node';
import { KernelTheatre } from './kernel-theatre.ts';
import { runLines, runLive } from './live.ts';
import { runOnce } from './once.ts';
import { Stage } from './stage.ts';
import { type Engine, whereabouts } from './theatre.ts';
import { VmTheatre } from './vm-theatre.ts';

const usage = `usage: npm start [-- [--engine=kernel|vm] [--once [--json]]]

  npm start                     live view on a terminal, otherwise a line per second
  npm start -- --once           some thousand requests, then a summary
  npm start -- --once --json    the same as one JSON object
  npm start -- --engine=vm      in the userspace machine: no root, no Linux; chosen by itself
                                where the kernel can't be used
`;

/** Signals that end the demo, each with the exit code that shells expect. */
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

type Ending = () => void | Promise<void>;

const endings: Ending[] = [];
let ended = false;

/** Gives back what was taken, latest first, and ends the process. Only the first call counts. */
async function end(exitCode: number): Promise<void> {
  if (ended) return;
  ended = true;
  for (const ending of endings.reverse()) {
    try {
      await ending();
    } catch (error) {
      complain(error);
      exitCode ||= exitCodes.failed;
    }
  }
  process.exit(exitCode);
}

/** Ends the process with a sentence and the exit code that goes with the error. */
async function fail(error: unknown): Promise<void> {
  // First the terminal is given back, then it can be written to.
  if (!ended) endings.unshift(() => complain(error));
  await end(explain(error).exitCode);
}

function complain(error: unknown): void {
  process.stderr.write(printableLines(`heddle demo: ${explain(error).message}\n`));
}

/** Returns the exit code. */
async function main(): Promise<number> {
  const { once, json, help, engine: wanted } = readArguments();
  if (help) {
    process.stdout.write(usage);
    return exitCodes.ok;
  }
  const engine = chooseEngine(wanted);

  const live = !once;
  for (const [signal, exitCode] of Object.entries(signals)) {
    // Ctrl-C is how the live demo is meant to end.
    process.on(signal, () => end(live && signal === 'SIGINT' ? exitCodes.ok : exitCode));
  }
  endWithNpm();
  let changed = () => {};
  const stage = new Stage(
    (watch) => (engine === 'vm' ? new VmTheatre(watch) : new KernelTheatre(nodePlatform(), watch)),
    () => changed(),
    fail,
  );
  endings.push(() => stage.close());
  const scene = {
    stage,
    onEnd: (ending: Ending) => endings.push(ending),
    onChange: (draw: () => void) => {
      changed = draw;
    },
  };
  if (once) return (await runOnce(stage, json)) ? exitCodes.ok : exitCodes.failed;
  if (process.stdout.isTTY) await runLive(scene);
  else await runLines(scene);
  return exitCodes.ok;
}

/** The engine that was asked for, or the kernel where it can be used; says so in one line if not. */
function chooseEngine(wanted: string | undefined): Engine {
  if (wanted === 'vm') return wanted;
  const missing = preflight();
  if (!missing) return 'kernel';
  if (wanted === 'kernel') throw new Failure(missing.exitCode, missing.message);
  const instead = 'Running in the userspace machine (--engine=vm) instead.';
  process.stderr.write(`heddle demo: ${missing.message}. ${instead}\n`);
  return 'vm';
}

/** What kills npm (SIGKILL, or SIGHUP to it alone) would leave the demo running unattended. */
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
        engine: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.json && !values.once) throw new Error('--json needs --once');
    const { engine } = values;
    if (engine !== undefined && !(engine in whereabouts)) {
      throw new Error(`--engine is kernel or vm, not ${engine}`);
    }
    return values;
  } catch (error) {
    const { message } = error as Error;
    throw new Failure(exitCodes.usage, `${message} (npm start -- --help shows the options)`);
  }
}

// A reader that has seen enough (`npm start | head`) ends the demo as q does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  void (error.code === 'EPIPE' || error.code === 'EIO' ? end(exitCodes.ok) : fail(error));
});

try {
  const exitCode = await main();
  await end(exitCode);
} catch (error) {
  await fail(error);
}
