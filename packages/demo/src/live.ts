import { setTimeout as sleep } from 'node:timers/promises';
import { eventLines, windowLine } from './lines.ts';
import { Screen } from './screen.ts';
import type { Stage } from './stage.ts';
import type { DemoState } from './state.ts';
import { terminalText } from './text.ts';
import { renderView } from './view.ts';

/** What the live demos need of whoever runs them. */
export interface Scene {
  readonly stage: Stage;
  /** Has `draw` called whenever the state changes. */
  readonly onChange: (draw: () => void) => void;
  /** Has `ending` called before the process ends, in whichever way. */
  readonly onEnd: (ending: () => void) => void;
}

/** Requests per second each way: a steady picture that leaves the machine room for the rest. */
const rate = 400;
/** Changes that come together are drawn together. */
const drawMs = 40;
const refreshMs = 1000;

/** Shows the live view until `q` or Ctrl-C. Throws when something of the demo ends by itself. */
export async function runLive({ stage, onChange, onEnd }: Scene): Promise<void> {
  const colours = !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  const keys = keyActions(stage);
  const screen = new Screen(keys.press, draw);
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
  await Promise.race([keys.quit, play(stage, 500)]);

  function draw(): void {
    const lines = renderView(stage.state, screen.size, { keys: screen.hasKeys });
    screen.draw(lines.map((line) => terminalText(line, colours)));
  }
}

/** Prints events as they come and a line per second, until the process is told to end. */
export async function runLines({ stage, onChange }: Scene): Promise<never> {
  let shown: DemoState = stage.state;
  onChange(() => {
    const { state } = stage;
    for (const line of eventLines(shown, state)) print(line);
    if (state.windows.at(-1) !== shown.windows.at(-1)) print(windowLine(state, Date.now()));
    shown = state;
  });
  return await play(stage, 1000);

  function print(line: string): void {
    process.stdout.write(`${line}\n`);
  }
}

/** Keeps traffic flowing, and asks the agent from time to time; ends only by an error. */
async function play(stage: Stage, reportMs: number): Promise<never> {
  await stage.open();
  const { total } = stage.startTraffic({ rate, reportMs });
  const ended = total.then(() => {
    throw new Error('run HTTP client: it ended by itself');
  });
  for (;;) {
    await Promise.race([sleep(refreshMs), ended]);
    await stage.refresh();
  }
}

/** What the keys do: one change of the backends at a time; the agent can be killed meanwhile. */
function keyActions(stage: Stage): { press: (key: string) => void; quit: Promise<void> } {
  let resolve = () => {};
  let reject = (_: unknown) => {};
  const quit = new Promise<void>((...settle) => {
    [resolve, reject] = settle;
  });
  let changes = Promise.resolve();
  let playing = false;
  const change = (action: () => Promise<void>) => {
    changes = changes.then(action);
    changes.catch(reject);
  };
  return {
    quit,
    press(key) {
      if (key === 'q') resolve();
      // Until everything is up there is nothing to change.
      playing ||= stage.state.windows.length > 0;
      if (!playing) return;
      if (key === 'a') change(() => stage.addBackend());
      else if (key === 'r') change(() => stage.removeBackend());
      else if (key === 'k') stage.killAgent().catch(reject);
    },
  };
}
