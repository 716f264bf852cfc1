// Owns a lab until it is killed. A second argument makes it end without disposing of the lab: `throw`,
// `exit`, or `keep`. Writes the traces of the lab to stdout.
import { createLab, startBackend } from '../src/index.ts';
import { platform, tracesOf } from './kernel.ts';

const [name, wayOut] = process.argv.slice(2);
const lab = createLab(platform, { name: name!, podsPerNode: 2, keep: wayOut === 'keep' });
await startBackend(lab.pods[0]!, { http: [80] });
process.stdout.write(`${JSON.stringify(tracesOf(lab))}\n`);
if (wayOut === 'throw') throw new Error('thrown on purpose');
if (wayOut !== undefined) process.exit();
setInterval(() => {}, 1000);
