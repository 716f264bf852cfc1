import { preflight as coreMissing } from '@heddle/agent/preflight';
import { nodePlatform } from '@heddle/sys/node';
import { type ExitCode, exitCodes } from './failure.ts';

/** Why Heddle can't run here: one sentence with what to do, and the exit code for it. */
export interface Missing {
  readonly message: string;
  readonly exitCode: ExitCode;
}

/**
 * What this machine or process lacks for running Heddle; undefined when nothing. `heddle agent`,
 * `npm start` and `npm test` ask before they do anything.
 */
export function preflight(): Missing | undefined {
  let message: string | undefined;
  try {
    message = coreMissing(nodePlatform());
  } catch (error) {
    message = (error as Error).message;
  }
  return message === undefined ? undefined : { message, exitCode: exitCodes.notPermitted };
}
