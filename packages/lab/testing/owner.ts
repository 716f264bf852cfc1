// Owns a lab until it is killed, or, with a second argument, leaves it by a way out that forgets it.
// Says on stdout what there is of it.
import { createLab, startBackend } from '../src/index.ts';
import { platform, tracesOf } from './kernel.ts';

const [name, wayOut] = process.argv.slice(2);
const lab = createLab(platform, { name: name!, podsPerNode: 2, keep: wayOut === 'keep' });
await startBackend(lab.pods[0]!, { http: [80] });
process.stdout.write(`${JSON.stringify(tracesOf(lab))}\n`);
if (wayOut === 'throw') throw new Error('thrown on purpose');
if (wayOut !== undefined) process.exit();
setInterval(() => {}, 1000);
