import { exitCodes } from '@heddle/control/failure';
import { Command, CommanderError } from 'commander';
import { addAgent } from './program/agent.ts';
import { addCni, addNodes, addPods, addServices } from './program/cluster.ts';
import { addAbout, addHousekeeping } from './program/housekeeping.ts';
import { addDump, addSimulate, addTrace } from './program/inspect.ts';
import { addLab } from './program/lab.ts';
import { addObserver } from './program/observer.ts';
import { withExamples } from './program/options.ts';
import { addPolicies } from './program/policy.ts';
import { addRelay } from './program/relay.ts';
import { addDrops, addEvents, addFlows } from './program/traffic.ts';
import { addUi } from './program/ui.ts';

// Only the command line is here; the code of a command is loaded when it runs, so that
// `heddle status` does not load the agent.

export function createProgram(): Command {
  const program = new Command('heddle')
    .description('Kubernetes services, load-balanced in the kernel')
    .showHelpAfterError('(add --help for help)')
    // For `lab exec`: options after the pod belong to the command to run.
    .enablePositionalOptions()
    .exitOverride();
  withExamples(
    program,
    'heddle agent --manifests examples/hello',
    'heddle service list',
    'heddle lab up --nodes 1 --pods 3',
  );
  program.addHelpText(
    'after',
    '\nExit codes: 0 done, 1 failed or not valid, 2 wrong usage, 3 not permitted or BPF missing,\n' +
      '4 agent not reachable, 5 an agent runs already, 70 internal error (HEDDLE_DEBUG=1 shows more).',
  );

  addAgent(program);
  addServices(program);
  addNodes(program);
  addPods(program);
  addCni(program);
  addPolicies(program);
  addFlows(program);
  addDrops(program);
  addObserver(program);
  addRelay(program);
  addUi(program);
  addEvents(program);
  addDump(program);
  addTrace(program);
  addSimulate(program);
  addHousekeeping(program);
  addAbout(program);
  addLab(program);
  return program;
}

/** Runs `heddle` with these arguments. A command that fails throws, or sets process.exitCode. */
export async function run(args: readonly string[]): Promise<void> {
  try {
    await createProgram().parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Commander has printed its message. A request for help is no error, nor is a missing command.
    const helped = error.exitCode === 0 || (error.code === 'commander.help' && args.length === 0);
    process.exitCode = helped ? exitCodes.ok : exitCodes.usage;
  }
}
