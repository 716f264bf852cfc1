import { exitCodes } from '../failure.ts';
import type { Stage } from './stage.ts';
import { failures, onceResult, onceText } from './summary.ts';

const requests = 4000;

/** Sends a bounded number of requests, and prints what came of them. Sets the exit code. */
export async function runOnce(stage: Stage, json: boolean): Promise<void> {
  await stage.open();
  const report = await stage.startTraffic({ requests }).total;
  const result = onceResult(report);
  const text = json
    ? `${JSON.stringify(result)}\n`
    : onceText(result, stage.serviceAddress, report.seconds);
  // The process ends soon after: what goes into a pipe must have left it by then.
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
  for (const failure of failures(report)) process.stderr.write(`heddle demo: ${failure}\n`);
  if (failures(report).length > 0) process.exitCode = exitCodes.failed;
}
