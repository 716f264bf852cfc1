import { isAlive, labNames, readState } from './run-folder.ts';

/** One lab of this machine. */
export interface LabSummary {
  readonly name: string;
  readonly keep: boolean;
  /** Id of the process that has created it. */
  readonly owner: number;
  readonly ownerAlive: boolean;
  readonly nodes: number;
  readonly pods: number;
}

/** Returns the labs of all processes on this machine. */
export function listLabs(): LabSummary[] {
  const labs: LabSummary[] = [];
  for (const name of labNames()) {
    const state = readState(name);
    if (!state) continue;
    labs.push({
      name,
      keep: state.keep,
      owner: state.owner.pid,
      ownerAlive: isAlive(state.owner),
      nodes: state.nodes.length,
      pods: state.nodes.reduce((sum, node) => sum + node.pods.length, 0),
    });
  }
  return labs;
}
