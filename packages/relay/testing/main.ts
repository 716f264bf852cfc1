// Serves the page by a real relay with invented traffic, to look at it: main.ts [shop-berlin|metro-500] [FLOWS/S].
import { buildPage } from '@heddle/web/build';
import { clusters } from '@heddle/web/testing/clusters';
import { InventedRelay } from './invented-relay.ts';

const [name = 'shop-berlin', rate] = process.argv.slice(2);
if (!Object.hasOwn(clusters, name)) {
  console.error(`start a relay: there is no invented cluster ${name}`);
  process.exit(2);
}
const cluster = clusters[name as keyof typeof clusters]();
const flowsPerSecond = rate === undefined ? {} : { flowsPerSecond: Number(rate) };
const relay = await InventedRelay.start(cluster, { ...flowsPerSecond, page: buildPage });
console.log(relay.url);
