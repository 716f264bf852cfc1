import { setTimeout as sleep } from 'node:timers/promises';
import type { Demo } from './demo.ts';
import { eventLines, windowLine } from './lines.ts';
import type { DemoState } from './state.ts';
import { TerminalScreen } from './terminal-screen.ts';
import { terminalText } from './text.ts';
import { renderView } from './view.ts';

/** The demo to show, and the hooks of the process that runs it. */
export interface LiveOptions {
  readonly demo: Demo;
  /** True if the demo has a web page. */
  readonly hasPage: boolean;
  /** Registers `draw`, which is called whenever the state changes. */
  readonly onChange: (draw: () => void) => void;
  /** Registers `cleanup`, which is called before the process ends. */
  readonly onEnd: (cleanup: () => void) => void;
}

/** Requests per second to each target: enough for a steady picture at a low load. */
const rate = 400;
/**
 * The delay after a change before the view is drawn, so that several changes are drawn together.
 */
const drawMs = 40;
const refreshMs = 1000;

/** Shows the live view until `q` or Ctrl-C. Rejects if a process of the demo ends by itself. */
export async function runLive({ demo, hasPage, onChange, onEnd }: LiveOptions): Promise<void> {
  const colours = !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  const keys = keyActions(demo);
  const screen = new TerminalScreen(keys.press, draw);
  onEnd(() => screen[Symbol.dispose]());

  let due = false;
  onChange(() => {
    if (due) return;
    due = true;
    setTimeout(() => {
      due = false;
      draw();
    }, drawMs);
  });
  draw();
  await Promise.race([keys.quit, runTraffic(demo, hasPage, 500)]);

  function draw(): void {
    const lines = renderView(demo.state, screen.size, { keys: screen.hasKeys });
    screen.draw(lines.map((line) => terminalText(line, colours)));
  }
}

/** Prints events as they happen and a line per second until the process ends. */
export async function runLines({ demo, hasPage, onChange }: LiveOptions): Promise<never> {
  let shown: DemoState = demo.state;
  onChange(() => {
    const { state } = demo;
    for (const line of eventLines(shown, state)) print(line);
    if (state.windows.at(-1) !== shown.windows.at(-1)) print(windowLine(state, Date.now()));
    shown = state;
  });
  return await runTraffic(demo, hasPage, 1000);

  function print(line: string): void {
    process.stdout.write(`${line}\n`);
  }
}

/** Sends requests and refreshes the services once per second; ends only with an error. */
async function runTraffic(demo: Demo, hasPage: boolean, reportMs: number): Promise<never> {
  await demo.open();
  if (hasPage) await demo.openPage();
  const { total } = demo.startTraffic({ rate, reportMs });
  const ended = total.then(() => {
    throw new Error('run HTTP client: it ended by itself');
  });
  for (;;) {
    await Promise.race([sleep(refreshMs), ended]);
    await demo.refresh();
  }
}

/**
 * Returns the key handler. Changes of backends run one at a time; the agent can be killed
 * meanwhile.
 */
function keyActions(demo: Demo): { press: (key: string) => void; quit: Promise<void> } {
  let resolve = () => {};
  let reject = (_: unknown) => {};
  const quit = new Promise<void>((...settle) => {
    [resolve, reject] = settle;
  });
  let changes = Promise.resolve();
  let isReady = false;
  const change = (action: () => Promise<void>) => {
    changes = changes.then(action);
    changes.catch(reject);
  };
  return {
    quit,
    press(key) {
      if (key === 'q') resolve();
      // Keys have no effect until the first report.
      isReady ||= demo.state.windows.length > 0;
      if (!isReady) return;
      if (key === 'a') change(() => demo.addBackend());
      else if (key === 'r') change(() => demo.removeBackend());
      else if (key === 'k') demo.killAgent().catch(reject);
    },
  };
}
