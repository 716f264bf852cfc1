// Serves the page with an invented cluster, to look at it: main.ts [shop-berlin|metro-500] [PORT] [FLOWS/S].
import { clusters } from './clusters.ts';
import { ScriptedRelay } from './relay.ts';
import { ScriptedServer } from './server.ts';

const [name = 'shop-berlin', port = '0', rate] = process.argv.slice(2);
if (!Object.hasOwn(clusters, name)) {
  console.error(`serve the page: there is no invented cluster ${name}`);
  process.exit(2);
}
const cluster = clusters[name as keyof typeof clusters]();
const perSecond = rate === undefined ? undefined : Number(rate);
const server = new ScriptedServer(new ScriptedRelay(cluster, Date.now, perSecond));
await server.start(Number(port));
console.log(server.url);
