import { once } from 'node:events';
import type { LabHost } from '@heddle/lab';

/** Runs a command in a pod or on a node and returns its output. Throws if it fails. */
export async function outputOf(
  place: LabHost,
  command: string,
  args: readonly string[],
): Promise<string> {
  const child = place.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout!.on('data', (data) => {
    text += data;
  });
  const [exitCode] = await once(child, 'close');
  if (exitCode !== 0) throw new Error(`run ${command} in ${place.name}: it ended with ${exitCode}`);
  return text;
}
