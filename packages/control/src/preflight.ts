import { preflight as coreMissing } from '@heddle/agent/preflight';
import { nodePlatform } from '@heddle/sys/node';
import { type ExitCode, exitCodes } from './failure.ts';

/** The reason why Heddle can't run here: a sentence with the remedy, and an exit code. */
export interface PreflightFailure {
  readonly message: string;
  readonly exitCode: ExitCode;
}

/**
 * Returns what this machine or process lacks to run Heddle, or undefined when it lacks nothing. `heddle
 * agent`, `npm start` and `npm test` check it first.
 */
export function preflight(): PreflightFailure | undefined {
  let message: string | undefined;
  try {
    message = coreMissing(nodePlatform());
  } catch (error) {
    message = (error as Error).message;
  }
  return message === undefined ? undefined : { message, exitCode: exitCodes.notPermitted };
}
