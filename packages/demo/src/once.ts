import type { Stage } from './stage.ts';
import { failures, onceResult, onceText } from './summary.ts';

const requests = 4000;

/** Sends a bounded number of requests, and prints what came of them. False when one failed. */
export async function runOnce(stage: Stage, json: boolean): Promise<boolean> {
  await stage.open();
  const report = await stage.startTraffic({ requests }).total;
  const result = onceResult(report, stage.state.engine);
  const text = json
    ? `${JSON.stringify(result)}\n`
    : onceText(result, stage.serviceAddress, report.seconds);
  // The process ends soon after: what goes into a pipe must have left it by then.
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
  const sentences = failures(report);
  for (const sentence of sentences) process.stderr.write(`heddle demo: ${sentence}\n`);
  return sentences.length === 0;
}
