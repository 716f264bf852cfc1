// Runs the demo for some seconds and writes its live view to docs/live-view.svg.
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nodePlatform } from '@heddle/sys/node';
import { Demo } from './demo.ts';
import { KernelEngine } from './kernel-engine.ts';
import { svgOf } from './svg.ts';
import { renderView } from './view.ts';

const file = fileURLToPath(new URL('../../../docs/live-view.svg', import.meta.url));
const size = { columns: 100, rows: 31 };

const crash = (error: Error) => {
  throw error;
};
const platform = nodePlatform();
const demo = new Demo(
  (watch) => new KernelEngine(platform, watch),
  () => {},
  crash,
);
await demo.open();
demo.startTraffic({ rate: 400, reportMs: 500 });
await sleep(5000);
await demo.addBackend();
await sleep(9000);
await demo.killAgent();
await sleep(3000);
await demo.refresh();
const lines = renderView(demo.state, size, { keys: true });
writeFileSync(file, svgOf(lines, size.columns, 'The live view of the Heddle demo'));
await demo.close();
process.exit();
