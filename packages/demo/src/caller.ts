// Opens a connection to HOST PORT twice a second, without a request: `node caller.ts HOST PORT`.
import { connect } from 'node:net';

const [host, port] = process.argv.slice(2) as [string, string];
const intervalMs = 500;

setInterval(() => {
  const socket = connect({ host, port: Number(port), timeout: 2 * intervalMs });
  // Network policies deny it, which is what the page shows; any other end is as good.
  for (const event of ['connect', 'timeout', 'error']) socket.on(event, () => socket.destroy());
}, intervalMs);
