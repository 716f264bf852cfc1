import type { ControlSource } from '@heddle/control';
import type { Dump } from './dump/dump.ts';
import type { NodePaths } from './dump/live.ts';

// Each function loads its modules when it is called, so that a command that only requests the
// agent's status does not load those that read the kernel.

/** Connects to the agent at a socket, or reads its answers from a dump. Throws Failure. */
export async function openControl({
  socket,
  fromDump,
}: {
  readonly socket: string;
  readonly fromDump?: string;
}): Promise<ControlSource> {
  if (fromDump === undefined) {
    const { ControlClient } = await import('@heddle/control');
    return await ControlClient.connect(socket);
  }
  const [{ readDump }, { DumpedControl }] = await Promise.all([
    import('./dump/file.ts'),
    import('./dump/control.ts'),
  ]);
  return new DumpedControl(await readDump(fromDump), fromDump);
}

/**
 * Takes a dump of this node, without the details of services, or reads the one in a file; a file
 * needs neither root nor Linux. Throws Failure, SysError.
 */
export async function openDump({
  fromDump,
  ...places
}: NodePaths & { readonly fromDump?: string }): Promise<Dump> {
  if (fromDump !== undefined) {
    const { readDump } = await import('./dump/file.ts');
    return await readDump(fromDump);
  }
  const { nodeDump } = await import('./dump/live.ts');
  return await nodeDump(places, false);
}
