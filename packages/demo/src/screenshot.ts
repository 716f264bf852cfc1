// Plays the demo for a moment and writes docs/live-view.svg: what its live view shows then.
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nodePlatform } from '@heddle/sys/node';
import { KernelTheatre } from './kernel-theatre.ts';
import { Stage } from './stage.ts';
import { svgOf } from './svg.ts';
import { renderView } from './view.ts';

const file = fileURLToPath(new URL('../../../docs/live-view.svg', import.meta.url));
const size = { columns: 100, rows: 31 };

const crash = (error: Error) => {
  throw error;
};
const platform = nodePlatform();
const stage = new Stage(
  (watch) => new KernelTheatre(platform, watch),
  () => {},
  crash,
);
await stage.open();
stage.startTraffic({ rate: 400, reportMs: 500 });
await sleep(5000);
await stage.addBackend();
await sleep(9000);
await stage.killAgent();
await sleep(3000);
await stage.refresh();
const lines = renderView(stage.state, size, { keys: true });
writeFileSync(file, svgOf(lines, size.columns, 'The live view of the Heddle demo'));
await stage.close();
process.exit();
