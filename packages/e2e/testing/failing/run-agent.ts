// Starts agents one after the other, each with a failing system call, and prints the outcomes as
// lines of JSON. Its only argument lists the trials; see failures.kernel.test.ts.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Agent, type AgentStatus, startAgent } from '@heddle/agent';
import { readConfig } from '@heddle/agent/config';
import { cniPlugin, objects, version } from '@heddle/assets';
import { nodePlatform } from '@heddle/sys/node';
import { type Failure, failingPlatform } from './failing-platform.ts';

export interface Trial {
  /** The phase of the agent in which the call is counted. */
  readonly phase: 'start' | 'steady' | 'end';
  /** The number of the call in that phase, from 1; 0: no call fails. */
  readonly call: number;
  readonly failure: Failure;
  /** The number of calls that follow and fail as well. */
  readonly more?: number;
}

export interface Outcome {
  readonly trial: Trial;
  /** The number of system calls in each phase. */
  readonly calls: Readonly<Record<Trial['phase'], number>>;
  /** The reason why the agent did not start. */
  readonly startError?: string;
  /** The error when the agent ended. */
  readonly endError?: string;
  /** The errors that callbacks threw. */
  readonly thrown: readonly string[];
  /** True if everything was programmed correctly in the end. */
  readonly isWhole: boolean;
  /** The last status, if something is missing. */
  readonly status?: AgentStatus;
  /** The descriptors that were left open. */
  readonly leaked: readonly string[];
  readonly log: readonly string[];
}

interface RunOptions {
  readonly flags: Parameters<typeof readConfig>[1];
  /** A manifest that is written again in the steady phase. */
  readonly manifest: string;
  readonly trials: readonly Trial[];
}

const options = JSON.parse(process.argv[2]!) as RunOptions;
const timeoutMs = 45_000;

function descriptors(): string[] {
  return readdirSync('/proc/self/fd').sort((a, b) => Number(a) - Number(b));
}

function statusOf(agent: Agent): AgentStatus {
  const request = { id: 1, method: 'status', params: {} } as const;
  return agent.handle(request, () => false) as AgentStatus;
}

function isWhole(status: AgentStatus): boolean {
  const { rows, source, datapath, integrity } = status;
  return (
    source.complete &&
    source.problems.length === 0 &&
    rows.pending === 0 &&
    rows.failed === 0 &&
    integrity.broken.length === 0 &&
    integrity.reason === undefined &&
    datapath.links.length > 0 &&
    datapath.links.every(({ attached }) => attached)
  );
}

/**
 * Waits until the agent has programmed everything, at most for the timeout. Returns the last
 * status.
 */
async function waitUntilWhole(agent: Agent): Promise<AgentStatus | Error> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    let last: AgentStatus | Error;
    try {
      last = statusOf(agent);
    } catch (error) {
      last = error as Error;
    }
    if (!(last instanceof Error) && isWhole(last)) return last;
    if (Date.now() > end) return last;
    await sleep(50);
  }
}

async function run(trial: Trial): Promise<Outcome> {
  const log: string[] = [];
  const platform = failingPlatform(
    nodePlatform((level, message) => log.push(`${level} ${message}`)),
  );
  const calls = { start: 0, steady: 0, end: 0 };
  const before = descriptors();
  const begin = (phase: Trial['phase']) => {
    const first = platform.calls;
    if (trial.phase === phase && trial.call > 0) {
      platform.failAt(first + trial.call, trial.failure, trial.more);
    }
    return () => {
      calls[phase] = platform.calls - first;
    };
  };
  const outcome = (more: Partial<Outcome>): Outcome => ({
    ...{ trial, calls, log, isWhole: false },
    thrown: platform.thrown.map((error) => (error as Error).stack ?? String(error)),
    leaked: descriptors()
      .filter((fd) => !before.includes(fd))
      .map((fd) => fd),
    ...more,
  });
  let agent: Agent;
  const endStart = begin('start');
  try {
    const config = readConfig(undefined, options.flags);
    agent = startAgent({
      platform,
      config,
      environment: {},
      version: version(),
      objects,
      cniPlugin,
    });
  } catch (error) {
    return outcome({ startError: (error as Error).message });
  } finally {
    endStart();
  }
  let last = await waitUntilWhole(agent);
  const endSteady = begin('steady');
  if (trial.phase !== 'end') {
    const bytes = readFileSync(options.manifest);
    writeFileSync(options.manifest, `${bytes}\n`);
    // Long enough for two checks of hooks and pins, and an audit.
    await sleep(trial.phase === 'steady' ? 3500 : 0);
    last = await waitUntilWhole(agent);
  }
  endSteady();
  const endEnd = begin('end');
  let endError: string | undefined;
  try {
    agent[Symbol.dispose]();
  } catch (error) {
    endError = (error as Error).message;
  }
  endEnd();
  // Descriptors that were watched are closed by the event loop.
  await sleep(20);
  const whole = !(last instanceof Error) && isWhole(last);
  const status = whole ? {} : { status: last as AgentStatus };
  return outcome({ isWhole: whole, ...status, ...(endError === undefined ? {} : { endError }) });
}

for (const trial of options.trials) {
  process.stdout.write(`${JSON.stringify(await run(trial))}\n`);
}
process.exit();
