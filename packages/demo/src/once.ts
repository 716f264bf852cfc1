import type { Demo } from './demo.ts';
import { failures, onceResult, onceText } from './summary.ts';

const requests = 4000;

/** Sends a fixed number of requests and prints the result. Resolves to false if one failed. */
export async function runOnce(demo: Demo, json: boolean): Promise<boolean> {
  await demo.open();
  const report = await demo.startTraffic({ requests }).total;
  const result = onceResult(report, demo.state);
  const text = json
    ? `${JSON.stringify(result)}\n`
    : onceText(result, demo.serviceAddress, report.seconds);
  // The process ends soon after, so the text must have been written by then.
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
  const sentences = failures(report);
  for (const sentence of sentences) process.stderr.write(`heddle demo: ${sentence}\n`);
  return sentences.length === 0;
}
