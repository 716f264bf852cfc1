// The demo behind `npm start`; see README.md of the project.
import { parseArgs } from 'node:util';
import { nodePlatform } from '@heddle/sys/node';
import { exitCodes, explain, Failure } from '../failure.ts';
import { preflight } from '../preflight.ts';
import { runLines, runLive } from './live.ts';
import { runOnce } from './once.ts';
import { Stage } from './stage.ts';

const usage = `usage: npm start [-- --once [--json]]

  npm start                     live view on a terminal, otherwise a line per second
  npm start -- --once           some thousand requests, then a summary
  npm start -- --once --json    the same as one JSON object
`;

/** Whatever ends the demo, this many signals do, each with the exit code that shells expect. */
const signals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const endings: (() => void)[] = [];

/** Gives back what was taken, latest first, and ends the process. */
function end(exitCode: number): never {
  for (const ending of endings.splice(0).reverse()) {
    try {
      ending();
    } catch (error) {
      complain(error);
      exitCode ||= exitCodes.failed;
    }
  }
  process.exit(exitCode);
}

function fail(error: unknown): never {
  // First the terminal is given back, then it can be written to.
  endings.unshift(() => complain(error));
  return end(explain(error).exitCode);
}

function complain(error: unknown): void {
  process.stderr.write(`heddle demo: ${explain(error).message}\n`);
}

async function main(): Promise<void> {
  const { once, json, help } = readArguments();
  if (help) {
    process.stdout.write(usage);
    return;
  }
  const missing = preflight();
  if (missing) throw new Failure(missing.exitCode, missing.message);

  const live = !once;
  for (const [signal, exitCode] of Object.entries(signals)) {
    // Ctrl-C is how the live demo is meant to end.
    process.on(signal, () => end(live && signal === 'SIGINT' ? exitCodes.ok : exitCode));
  }
  let changed = () => {};
  const stage = new Stage(nodePlatform(), () => changed(), fail);
  endings.push(() => stage[Symbol.dispose]());
  const scene = {
    stage,
    onEnd: (ending: () => void) => endings.push(ending),
    onChange: (draw: () => void) => {
      changed = draw;
    },
  };
  if (once) await runOnce(stage, json);
  else if (process.stdout.isTTY) await runLive(scene);
  else await runLines(scene);
}

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.json && !values.once) throw new Error('--json needs --once');
    return values;
  } catch (error) {
    const { message } = error as Error;
    throw new Failure(exitCodes.usage, `${message} (npm start -- --help shows the options)`);
  }
}

// A reader that has seen enough (`npm start | head`) ends the demo as q does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || error.code === 'EIO') end(exitCodes.ok);
  fail(error);
});

try {
  await main();
  end(process.exitCode === undefined ? exitCodes.ok : Number(process.exitCode));
} catch (error) {
  fail(error);
}
